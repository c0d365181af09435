"""A plan as people read it, from `evalq plan` and `evalq submit --dry-run`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, problem

SPEC = {"model": "hf", "model_args": {"pretrained": "gpt2"}, "tasks": ["gsm8k"]}
NOTE = "--batch_size is not given: evalq uses auto (lm-eval would use 1)"
PLAN: dict[str, Any] = {
    "backend": "vllm",
    "tensor_parallel_size": 4,
    "pipeline_parallel_size": 1,
    "gpus_per_replica": 4,
    "replicas": 2,
    "group": None,
    "memory_per_gpu_gib": 42.04,
    "explanation": ["one replica needs 4 GPUs", NOTE],
    "command": "lm_eval run --model vllm",
}
ANSWER: dict[str, Any] = {"valid": True, "plan": PLAN, "errors": [], "tasks": ["gsm8k"], "notes": [NOTE]}


def _shown(answer: dict[str, Any], evalq: Evalq, api: FakeApi) -> list[str]:
    api.answers["POST /v1/jobs"] = (200, answer)
    return evalq("plan", "-", stdin=json.dumps(SPEC)).stdout.splitlines()


@pytest.mark.parametrize("verb", [("plan", "-"), ("submit", "-", "--dry-run"), ("submit", "--dry-run", "-")])
def test_a_plan_is_a_table_and_nothing_is_stored(evalq: Evalq, api: FakeApi, verb: tuple[str, ...]) -> None:
    api.answers["POST /v1/jobs"] = (200, ANSWER)
    answer = evalq(*verb, stdin=json.dumps(SPEC))
    assert answer.exit_code == 0
    assert answer.stdout.splitlines() == [
        "plan          vllm",
        "width         TP 4 x PP 1: 4 GPUs a replica",
        "replicas      2: world size 8, ranks 0 to 7",
        "group         any that has the backend",
        "memory a GPU  42.0 GiB",
        "tasks         gsm8k",
        "why           one replica needs 4 GPUs",
        f"differs       {NOTE}",
        "command       lm_eval run --model vllm",
    ]
    assert [seen.query for seen in api.seen] == [{"dry_run": "true"}]


def test_what_is_known_of_memory_and_of_ways_out_is_shown(evalq: Evalq, api: FakeApi) -> None:
    memory = {"rule_gb": 42.0, "source": "a table of known models"}
    ways = [{"change": {"gpus_per_replica": 8}, "fits": True, "note": "18.2 GiB of weights"}]
    plan = PLAN | {"replicas": "auto", "fit": "no", "memory": memory, "ways_out": ways}
    shown = "\n".join(_shown(ANSWER | {"plan": plan}, evalq, api))
    assert "as many as are free and pay for their loading" in shown
    assert "42.0 GiB: does not fit" in shown
    assert "42.0 GB (parameters x bytes x 1.2 / GPUs); size from a table of known models" in shown
    assert "gpus_per_replica 8: fits; 18.2 GiB of weights" in shown


def test_a_plan_stands_beside_the_faults_of_a_job(evalq: Evalq, api: FakeApi) -> None:
    errors = [{"path": "model", "message": "backend vllm is installed on no worker", "allowed": None}]
    api.answers["POST /v1/jobs"] = (200, ANSWER | {"valid": False, "errors": errors})
    answer = evalq("plan", "-", stdin=json.dumps(SPEC))
    assert answer.exit_code == 2
    assert "TP 4 x PP 1" in answer.stdout
    assert answer.stderr.splitlines() == [
        "evalq: this job cannot run:",
        "  model: backend vllm is installed on no worker",
    ]


LACKING = {"path": "group", "message": "there is no group big", "allowed": ["a"], "lacking": True}
OWN = {"path": "tasks.0", "message": "there is no task no", "allowed": None, "lacking": False}


def test_what_only_the_cluster_lacks_stands_apart_and_has_an_exit_code(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (200, ANSWER | {"valid": False, "errors": [LACKING]})
    answer = evalq("plan", "-", stdin=json.dumps(SPEC))
    assert (answer.exit_code, answer.stderr.splitlines()) == (
        106,
        [
            "evalq: this job cannot run:",
            "this cluster lacks what the job needs:",
            "  group: there is no group big (allowed: a)",
            "with --wait-for-capacity the job is taken, and waits until this is there",
        ],
    )
    api.answers["POST /v1/jobs"] = (200, ANSWER | {"valid": False, "errors": [LACKING, OWN]})
    answer = evalq("plan", "-", stdin=json.dumps(SPEC))
    assert (answer.exit_code, answer.stderr.splitlines()[1:3]) == (
        2,
        ["  tasks.0: there is no task no", "this cluster lacks what the job needs:"],
    )
    assert "--wait-for-capacity" not in answer.stderr


def test_a_job_may_be_told_how_to_score(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (200, ANSWER | {"plan": PLAN | {"scoring_mode": "fast"}})
    answer = evalq("plan", "--scoring-mode", "fast", "lm_eval", "run", "--model", "vllm")
    assert api.seen[0].body == {"command": "lm_eval run --model vllm", "scoring_mode": "fast"}
    assert "fast: what requests of one context share" in answer.stdout
    assert evalq("plan", "--scoring-mode", "slow", "lm_eval", "run").exit_code == 2


def test_a_job_may_be_told_to_wait_for_capacity(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (200, ANSWER | {"errors": [LACKING]})
    answer = evalq("plan", "-", "--wait-for-capacity", stdin=json.dumps(SPEC))
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert "waits for     there is no group big" in answer.stdout
    assert api.seen[0].body == SPEC | {"wait_for_capacity": True}
    command = evalq("plan", "--wait-for-capacity", "lm_eval", "run", "--model", "hf")
    assert command.exit_code == 0
    assert api.seen[1].body == {"command": "lm_eval run --model hf", "wait_for_capacity": True}
    assert evalq("plan", "lm_eval", "run", "--wait-for-capacity").exit_code == 2


def test_a_refused_job_that_only_lacks_capacity_has_an_exit_code(evalq: Evalq, api: FakeApi) -> None:
    refused = problem(422, "The job cannot run as it was posted", "long", [LACKING])
    api.answers["POST /v1/jobs"] = (422, refused)
    answer = evalq("submit", "-", stdin=json.dumps(SPEC))
    assert answer.exit_code == 106
    assert "with --wait-for-capacity the job is taken" in answer.stderr


def test_of_many_tasks_the_first_are_named(evalq: Evalq, api: FakeApi) -> None:
    lines = _shown(ANSWER | {"tasks": [f"t{number}" for number in range(57)]}, evalq, api)
    (tasks,) = (line for line in lines if line.startswith("tasks"))
    assert tasks.endswith("t8, t9 and 47 more")


def test_json_is_the_answer_as_it_came(evalq: Evalq, api: FakeApi) -> None:
    api.answers["POST /v1/jobs"] = (200, ANSWER)
    assert json.loads(evalq("plan", "-", "--json", stdin=json.dumps(SPEC)).stdout) == ANSWER
