from __future__ import annotations

import json

import pytest

from app.client.exit_codes import Exit
from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job_id, problem

TASK = {"name": "gsm8k", "kind": "task", "output_type": "generate_until", "tags": ["math_word_problems"]}
DEVICE = {
    "id": "GPU-1",
    "index": 0,
    "name": "NVIDIA H100",
    "state": "drained",
    "reason": "uncorrectable ECC",
    "memory_bytes": 80 * 2**30,
    "memory_used_bytes": 2**30,
    "utilization_percent": 97.0,
    "temperature_celsius": None,
}
GROUP = {
    "name": "node1-a",
    "host": "node1",
    "backends": ["hf"],
    "unusable_backends": {"vllm": "its torch finds no GPU"},
    "alive": True,
    "draining": False,
    "heartbeat_at": "2026-11-22T00:00:00+00:00",
    "devices": [DEVICE],
    "replicas": [
        {
            "engine": {"model": "gpt2"},
            "status": "serving",
            "devices": ["GPU-1"],
            "idle_since": "2026-11-22T00:00:00Z",
        }
    ],
}
WAITING = {
    "position": 1,
    "id": job_id(1),
    "model": "gpt2",
    "priority": 50,
    "created_at": "2026-11-22T00:00:00+00:00",
    "estimate": {"start_low_seconds": 40.0, "start_seconds": 61.0, "start_high_seconds": None},
    "ahead": {"count": 3, "by": {"priority": 1, "share": 2}, "first": []},
    "waiting_for": "4 free GPUs in one group",
}


def test_tasks_are_searched(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/tasks"] = (200, {"data": [TASK], "next_cursor": None})
    answer = evalq("tasks", "gsm")
    assert answer.stdout.splitlines()[1].split() == ["gsm8k", "task", "generate_until", "math_word_problems"]
    assert api.seen[0].query["search"] == "gsm"


def test_a_task_of_just_that_name_is_shown_in_full(evalq: Evalq, api: FakeApi) -> None:
    other = TASK | {"name": "gsm8k_cot", "tags": []}
    full = TASK | {"dataset_path": "openai/gsm8k", "dataset_name": "main", "num_fewshot": 0, "children": []}
    api.answers["GET /v1/tasks"] = (200, {"data": [TASK, other], "next_cursor": None})
    api.answers["GET /v1/tasks/gsm8k"] = (200, full | {"description": "Sums\nin words."})
    assert evalq("tasks", "GSM8k").stdout.splitlines() == [
        "gsm8k",
        "  kind      task",
        "  asks for  generate_until",
        "  few-shot  0",
        "  dataset   openai/gsm8k main",
        "  tags      math_word_problems",
        "  about     Sums in words.",
        "NAME       KIND  ASKS FOR        TAGS",
        "gsm8k_cot  task  generate_until",
    ]
    assert [t["name"] for t in json.loads(evalq("tasks", "gsm8k", "--json").stdout)] == ["gsm8k", "gsm8k_cot"]


def test_a_misspelt_task_is_answered_with_near_names(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/tasks"] = (200, {"data": [], "next_cursor": None})
    said = "there is no task, group or tag 'a/b c'; near: ab"
    api.answers["GET /v1/tasks/a%2Fb%20c"] = (404, problem(404, "No such task", said))
    answer = evalq("tasks", "a/b c")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (Exit.NOT_FOUND, "", f"evalq: {said}\n")


def test_more_tasks_than_shown_are_hinted_at(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/tasks"] = (200, {"data": [TASK], "next_cursor": "x"})
    answer = evalq("tasks", "-n", "1", "-q")
    assert answer.stdout == "gsm8k\n"
    assert "narrow the search" in evalq("tasks", "-n", "1").stderr


def test_groups_show_their_devices_and_what_is_warm(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/groups"] = (200, {"data": [GROUP]})
    shown = evalq("groups").stdout
    assert "backend vllm does not work: its torch finds no GPU" in shown
    assert "node1-a on node1: alive" in shown
    assert "NVIDIA H100  drained (uncorrectable ECC)  1.0/80.0 GiB  97 % busy" in shown
    assert "warm: gpt2 on 1 device\n" in shown


def test_no_group_at_all_has_a_hint(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/groups"] = (200, {"data": []})
    assert "evalq worker" in evalq("groups").stderr


@pytest.mark.parametrize(("verb", "call"), [("drain", "drain"), ("undrain", "resume")])
def test_groups_are_drained_and_get_work_again(evalq: Evalq, api: FakeApi, verb: str, call: str) -> None:
    api.answers[f"POST /v1/groups/node1-a/{call}"] = (200, GROUP | {"draining": verb == "drain"})
    api.answers[f"POST /v1/groups/a%2Fb/{call}"] = (
        404,
        problem(404, "No such group", "there is no group a/b"),
    )
    answer = evalq(verb, "a/b", "node1-a")
    assert ("draining" in answer.stdout) == (verb == "drain")
    assert (answer.exit_code, answer.stderr) == (102, "evalq: a/b: there is no group a/b\n")
    assert evalq(verb, "node1-a", "-q").stdout == "node1-a\n"


def test_the_queue_says_what_each_job_waits_for(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/queue"] = (200, {"data": [WAITING]})
    assert "1:01 (0:40 to ?)" in evalq("queue").stdout
    assert "3: 1 priority, 2 share  4 free GPUs in one group" in evalq("queue").stdout
    assert json.loads(evalq("queue", "--json").stdout) == [WAITING]


def test_a_queue_says_what_holds_up_all_and_how_many_there_are(evalq: Evalq, api: FakeApi) -> None:
    put_aside = WAITING | {"id": None, "model": None, "ahead": None}
    page = {"data": [put_aside], "total": 700, "troubles": ["no scheduler leads"]}
    api.answers["GET /v1/queue"] = (200, page)
    answer = evalq("queue", "-n", "1")
    assert answer.stderr == "no scheduler leads\n700 jobs wait; see more with -n\n"
    assert "(other team)" in answer.stdout
    assert api.seen[0].query["limit"] == "1"


def test_an_empty_queue_is_said_on_stderr(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/queue"] = (200, {"data": []})
    answer = evalq("queue")
    assert (answer.stdout, answer.stderr) == ("", "nothing waits\n")
