"""What a shell offers behind Tab."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import completing
from app.cli.main import VERBS, cli
from app.client.profiles import Profile, changing
from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id
from tests.cli.test_catalogue import GROUP
from tests.domain.test_visible import HOSTILE, drives_nothing


def offered(line: str, shell: str = "bash") -> list[str]:
    """What stands behind the last word of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    env = {"_EVALQ_COMPLETE": f"{shell}_complete", **words}
    answer = CliRunner().invoke(cli, [], prog_name="evalq", env=env)
    assert answer.stderr == ""
    assert drives_nothing(answer.output)
    return [line for line in answer.stdout.splitlines() if line]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no slow service."""
    monkeypatch.setattr(completing, "SECONDS", 20.0)


def test_verbs_are_offered_by_their_beginning(evalq: Evalq, api: FakeApi) -> None:
    assert offered("evalq wa") == ["plain,watch", "plain,wait"]
    assert len(offered("evalq ")) == len(VERBS)
    assert api.seen == []


@pytest.mark.parametrize(
    "verb", ["show", "watch", "wait", "cancel", "set", "delete", "results", "logs", "download"]
)
def test_jobs_are_offered_by_their_beginning(evalq: Evalq, api: FakeApi, verb: str) -> None:
    api.jobs = [job(0x21), job(0x12), job(0x11)]
    assert offered(f"evalq {verb} {job_id(0x11)[:7]}") == [f"plain,{job_id(0x12)}", f"plain,{job_id(0x11)}"]
    assert offered(f"evalq {verb} @") == ["plain,@last"]


def test_groups_and_profiles_are_offered(evalq: Evalq, api: FakeApi, tmp_path: Path) -> None:
    api.answers["GET /v1/groups"] = (200, {"data": [GROUP, GROUP | {"name": "node2"}]})
    with changing(tmp_path / "evalq" / "config.toml") as kept:
        kept[0] = kept[0].with_profile("lab", Profile(api.url))
    assert offered("evalq drain node1") == ["plain,node1-a"]
    assert offered("evalq jobs --profile l") == ["plain,lab"]
    (tmp_path / "evalq" / "config.toml").write_text("[")
    assert offered("evalq jobs --profile l") == []


def test_what_is_no_word_of_letters_is_not_offered(evalq: Evalq, api: FakeApi) -> None:
    names = ["ok", "a b", "$(reboot)", "`x`", f"x{HOSTILE}", "a;b", "", 7]
    api.answers["GET /v1/groups"] = (
        200,
        {"data": [GROUP | {"name": name, "host": HOSTILE} for name in names]},
    )
    assert offered("evalq drain ") == ["plain,ok", "plain,7"]
    assert len(offered("evalq drain ", "zsh")) == 6


@pytest.mark.timeout(20)
def test_a_service_that_is_slow_or_away_is_not_waited_for(
    evalq: Evalq, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(completing, "SECONDS", 0.1)
        monkeypatch.setenv("EVALQ_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert offered("evalq show 0") == []
    assert offered("evalq show 0") == []
    monkeypatch.setenv("EVALQ_URL", "http://[")
    assert offered("evalq show 0") == []
