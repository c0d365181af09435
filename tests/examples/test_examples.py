"""What a new user runs first."""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from lm_eval.tasks import TaskManager

from app.api.schemas.submission import JobIn
from app.harnesses.command_line import parse_command

EXAMPLES = Path(__file__).parents[2] / "examples"
REQUESTS = sorted((EXAMPLES / "requests").glob("*.json"))


def documents(name: str) -> list[dict[str, object]]:
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


@pytest.mark.parametrize("request_file", REQUESTS, ids=lambda path: path.name)
def test_a_request_is_one_the_api_takes(request_file: Path) -> None:
    body = JobIn.model_validate_json(request_file.read_text())
    fields = parse_command(body.command, {}).fields if body.command else body.model_dump()
    assert fields["model"] == "hf"
    assert set(fields["tasks"]) <= {"evalq_demo", "evalq_facts", "evalq_arithmetic"}
