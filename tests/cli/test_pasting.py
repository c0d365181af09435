"""Whatever people have at hand may be submitted: a command, a script, YAML, JSON; as a file, a text or words."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, problem

COMMAND = "lm_eval run --model hf --model_args pretrained=gpt2 --tasks gsm8k"
SCRIPT = f"#!/bin/bash\n#SBATCH --nodes=2\n\n# key: value\nMODEL=gpt2\nsrun {COMMAND}\n"
YAML = "# lm_eval's own\nmodel: hf\nmodel_args:\n  pretrained: gpt2\ntasks: [gsm8k]\nlimit: 10\n"
SETTINGS = {"model": "hf", "model_args": {"pretrained": "gpt2"}, "tasks": ["gsm8k"], "limit": 10}
ACCELERATE = "compute_environment: LOCAL_MACHINE\nnum_processes: 8\n"


@pytest.fixture(autouse=True)
def _takes_jobs(api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api.answers["POST /v1/jobs"] = (202, job(1, "queued"))
    monkeypatch.chdir(tmp_path)


def _body(api: FakeApi) -> Any:
    assert len(api.seen) == 1
    return api.seen[0].body


@pytest.mark.parametrize(
    "text", [COMMAND, SCRIPT, f"{COMMAND} \\\n  --limit 5\nrm -rf /\n", f"\ufeff{COMMAND}"]
)
def test_a_command_or_a_script_is_sent_as_it_stands(
    evalq: Evalq, api: FakeApi, tmp_path: Path, text: str
) -> None:
    (tmp_path / "run.sh").write_text(text)
    ways: list[tuple[tuple[str, ...], str | None]] = [((text,), None), (("-",), text), (("run.sh",), None)]
    for words, stdin in ways:
        assert evalq("submit", "-q", *words, stdin=stdin).exit_code == 0
    assert [seen.body for seen in api.seen] == [{"command": text}] * 3


def test_lm_evals_yaml_is_a_job(evalq: Evalq, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "my conf.yaml").write_text(YAML)
    evalq("submit", "-q", "my conf.yaml")
    evalq("submit", "-q", "-", stdin=YAML)
    evalq("submit", "-q", "--config", "my conf.yaml")
    first, second, third = (seen.body for seen in api.seen)
    assert first == {"command": "lm_eval run --config 'my conf.yaml'", "files": {"my conf.yaml": SETTINGS}}
    assert second["files"] == {"standard input": SETTINGS}
    assert third == {"command": "lm_eval run", "files": {"my conf.yaml": SETTINGS}}


def test_json_is_sent_as_it_is_also_as_a_quoted_text(evalq: Evalq, api: FakeApi) -> None:
    evalq("submit", "-q", json.dumps(SETTINGS))
    assert _body(api) == SETTINGS


def test_words_need_no_dashes_before_them(evalq: Evalq, api: FakeApi) -> None:
    for words in (
        COMMAND.split(),
        ["A=1", *COMMAND.split()],
        ["accelerate", "launch", "-m", *COMMAND.split()],
        ["poetry", "run", *COMMAND.split()],
        ["timeout", "60", *COMMAND.split()],
    ):
        assert evalq("submit", "-q", *words).exit_code == 0
        assert api.seen.pop().body == {"command": shlex.join(words)}


@pytest.mark.parametrize("option", ["--watch", "--json", "--url=http://x", "--quiet", "--set", "--dry-run"])
def test_own_options_go_before_the_command(evalq: Evalq, api: FakeApi, option: str) -> None:
    answer = evalq("submit", *COMMAND.split(), option)
    assert answer.exit_code == 2
    assert f"{option.partition('=')[0]} is evalq's own option: put it before lm_eval" in answer.stderr
    assert api.seen == []


def test_options_of_others_may_be_called_alike(evalq: Evalq, api: FakeApi) -> None:
    words = ["srun", "--quiet", "--wait", "60", *COMMAND.split()]
    assert evalq("submit", "-q", *words).exit_code == 0
    assert evalq("submit", "-q", *COMMAND.split(), "--config", "c.yaml").exit_code == 0
    assert len(api.seen) == 2


def test_values_are_given_by_name(evalq: Evalq, api: FakeApi) -> None:
    evalq("submit", "-q", "--set", "MODEL=a=b", "--set", "your task=c", "-", stdin=COMMAND)
    assert _body(api) == {"command": COMMAND, "variables": {"MODEL": "a=b", "your task": "c"}}


def test_files_that_a_command_names_are_read_beside_it(evalq: Evalq, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "conf.yaml").write_text(YAML)
    (tmp_path / "acc.yaml").write_text(ACCELERATE)
    text = "accelerate launch --config_file acc.yaml -m lm_eval run --config conf.yaml"
    (tmp_path / "sub" / "run.sh").write_text(text)
    answer = evalq("submit", "sub/run.sh")
    files = {"conf.yaml": SETTINGS, "acc.yaml": {"compute_environment": "LOCAL_MACHINE", "num_processes": 8}}
    assert _body(api) == {"command": text, "files": files}
    assert "conf.yaml is read on this machine and sent along" in answer.stderr


def test_a_file_that_is_not_there_is_left_to_the_service(evalq: Evalq, api: FakeApi) -> None:
    evalq("submit", "-q", "lm_eval run --config nowhere.yaml")
    assert _body(api) == {"command": "lm_eval run --config nowhere.yaml"}


def test_settings_of_accelerate_stand_beside_a_command(evalq: Evalq, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "acc.yaml").write_text(ACCELERATE)
    assert "give them beside a command" in evalq("submit", "acc.yaml").stderr
    evalq("submit", "-q", "--config", "acc.yaml", *COMMAND.split())
    assert list(_body(api)["files"]) == ["acc.yaml"]


def test_a_command_in_json_takes_values_and_files_too(evalq: Evalq, api: FakeApi) -> None:
    evalq("submit", "-q", "--set", "A=b", "-", stdin=json.dumps({"command": COMMAND, "name": "n"}))
    assert _body(api) == {"command": COMMAND, "name": "n", "variables": {"A": "b"}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds nothing"),
        (" \n\t", "holds nothing"),
        ("{", "is not JSON"),
        ("[]", "must hold one JSON object"),
        ("[" * 100_000, "is not JSON"),
        ("a: 1\nb: 2\n", "holds no setting of lm_eval or accelerate, and is not sent anywhere"),
        ("model: [\n", "is not YAML that can be read"),
        ("model: hf\n---\nmodel: x\n", "is not YAML that can be read"),
        ("model: hf\nmodel: vllm\n", "model stands there twice"),
        ("model: &a hf\ntasks: *a\n", "an alias (*name) is not read here"),
        ("model: !!python/object/apply:os.system [id]\n", "is not YAML that can be read"),
        ("model: hf\nlimit: .nan\n", "holds what JSON has not"),
        ("model: hf\nname: 2024-01-01\n", "holds what JSON has not"),
        ("---\n- model\n", "must hold names with values"),
        ("model: " + "[" * 1000, "holds what JSON has not"),
        ("model: " + "[" * 100_000, "has more than 65536 characters"),
        ("x" * 1_100_000, "has more than 1048576 characters"),
    ],
)
def test_what_cannot_be_a_job_is_wrong_usage_in_words(
    evalq: Evalq, api: FakeApi, text: str, says: str
) -> None:
    answer = evalq("submit", "-", stdin=text)
    assert answer.exit_code == 2
    assert says in answer.stderr
    assert len(answer.stderr) < 1000
    assert api.seen == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a file, - for standard input, or a command"),
        (("nowhere.sh",), "nowhere.sh cannot be read: no such file"),
        (("lm_eval",), "evalq submit - <<'END'"),
        (("x" * 5000,), "cannot be read"),
        ((".",), "cannot be read: Is a directory"),
        (("bytes.bin",), "is no text in UTF-8"),
        (("run.sh", "more"), "give one file, or one command"),
        (("--set", "A", COMMAND), "expected NAME=VALUE"),
        (("--set", "A=b", json.dumps(SETTINGS)), "this is JSON without one"),
        (("--config", "nowhere.yaml", COMMAND), "nowhere.yaml"),
    ],
)
def test_words_that_are_no_job_are_wrong_usage_in_words(
    evalq: Evalq, api: FakeApi, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    (tmp_path / "bytes.bin").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "run.sh").write_text(COMMAND)
    answer = evalq("submit", *words)
    assert answer.exit_code == 2
    assert says in answer.stderr
    assert api.seen == []


def test_a_block_that_a_shell_took_apart_is_told_the_safe_way(evalq: Evalq, api: FakeApi) -> None:
    faults = [{"path": "command", "message": "no lm_eval command is in here; ...", "allowed": None}]
    api.answers["POST /v1/jobs"] = (422, problem(422, "The job could never run", "long", faults))
    assert "evalq submit - <<'END'" in evalq("submit", "--", "ray", "start").stderr
    assert "evalq submit - <<'END'" not in evalq("submit", "ray start").stderr


def test_help_shows_the_safe_way(evalq: Evalq) -> None:
    assert "evalq submit - <<'END'\n  ...\n  END" in evalq("submit", "--help").stdout
