from __future__ import annotations

import json

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job_id

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
    "estimated_start_seconds": 61.0,
    "waiting_for": "4 free GPUs in one group",
}


def test_tasks_are_searched(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/tasks"] = (200, {"data": [TASK], "next_cursor": None})
    answer = evalq("tasks", "gsm")
    assert answer.stdout.splitlines()[1].split() == ["gsm8k", "task", "generate_until", "math_word_problems"]
    assert api.seen[0].query["search"] == "gsm"


def test_more_tasks_than_shown_are_hinted_at(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/tasks"] = (200, {"data": [TASK], "next_cursor": "x"})
    answer = evalq("tasks", "-n", "1", "-q")
    assert answer.stdout == "gsm8k\n"
    assert "narrow the search" in evalq("tasks", "-n", "1").stderr


def test_groups_show_their_devices_and_what_is_warm(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/groups"] = (200, {"data": [GROUP]})
    shown = evalq("groups").stdout
    assert "node1-a on node1: alive" in shown
    assert "NVIDIA H100  drained (uncorrectable ECC)  1.0/80.0 GiB  97 % busy" in shown
    assert "warm: gpt2 on 1 devices" in shown


def test_no_group_at_all_has_a_hint(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/groups"] = (200, {"data": []})
    assert "evalq worker" in evalq("groups").stderr


def test_the_queue_says_what_each_job_waits_for(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/queue"] = (200, {"data": [WAITING]})
    assert "1:01" in evalq("queue").stdout
    assert "4 free GPUs in one group" in evalq("queue").stdout
    assert json.loads(evalq("queue", "--json").stdout) == [WAITING]


def test_an_empty_queue_is_said_on_stderr(evalq: Evalq, api: FakeApi) -> None:
    api.answers["GET /v1/queue"] = (200, {"data": []})
    answer = evalq("queue")
    assert (answer.stdout, answer.stderr) == ("", "nothing waits\n")
