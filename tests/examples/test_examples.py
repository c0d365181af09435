"""What a new user runs first."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from lm_eval.tasks import TaskManager

from app.cli.demo import next_steps
from app.posting.job_body import JobIn
from app.workloads.lm_eval.command.command_line import parse_command

EXAMPLES = Path(__file__).parents[2] / "examples"
REQUESTS = sorted((EXAMPLES / "requests").glob("*.json"))


def documents(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLES / "tasks" / name).read_text().splitlines()]


def test_every_fact_has_four_choices_of_which_one_is_right() -> None:
    facts = documents("facts.jsonl")
    assert 50 <= len({fact["question"] for fact in facts}) == len(facts) <= 100
    for fact in facts:
        assert len(set(fact["choices"])) == 4
        assert fact["answer"] in range(4)


def test_every_sum_is_asked_once() -> None:
    sums = documents("arithmetic.jsonl")
    assert 50 <= len({item["question"] for item in sums}) == len(sums) <= 100
    assert all(item["answer"].isdigit() for item in sums)


def test_lm_eval_loads_the_tasks_from_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = TaskManager(include_path=str(EXAMPLES / "tasks"), include_defaults=False)
    loaded = tasks.load(["evalq_demo"])["tasks"]
    assert {name: len(task.eval_docs) for name, task in loaded.items()} == {
        "evalq_facts": 100,
        "evalq_arithmetic": 100,
    }


def test_the_first_job_of_the_readme_needs_no_hub() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    (body,) = re.findall(r"<<END\n(.*?)\nEND\n", readme, re.DOTALL)
    job = JobIn.model_validate_json(body)
    folder = "/models/smollm2-135m-instruct"
    assert job.model_dump()["model_args"]["pretrained"] == f"$HOME/.cache/evalq{folder}"
    assert folder.rpartition("/")[2] in (EXAMPLES / "models" / "smollm2.py").read_text()
    assert job.model_dump()["tasks"] == ["evalq_facts"]
    assert "export EVALQ_TASK_PATHS=examples/tasks" in readme


@pytest.mark.parametrize("folder", ["/cache/models/tiny", "/my cache/models/tiny"])
def test_what_the_demo_says_comes_next_needs_no_hub(folder: str) -> None:
    _, up, submit, _ = next_steps(Path(folder), kept=None)
    assert shlex.split(up)[0] == f"EVALQ_TASK_PATHS={EXAMPLES / 'tasks'}"
    options, _, command = submit.partition(" -- ")
    fields = parse_command(command, {}).fields
    assert shlex.split(options)[-2:] == ["submit", "--watch"]
    assert fields["model_args"]["pretrained"] == folder
    assert fields["tasks"] == ["evalq_demo"]


@pytest.mark.parametrize("request_file", REQUESTS, ids=lambda path: path.name)
def test_a_request_is_one_the_api_takes(request_file: Path) -> None:
    body = JobIn.model_validate_json(request_file.read_text())
    fields = parse_command(body.command, {}).fields if body.command else body.model_dump()
    assert fields["model"] == "hf"
    assert set(fields["tasks"]) <= {"evalq_demo", "evalq_facts", "evalq_arithmetic"}
