from __future__ import annotations

from itertools import count

import pytest

from app.cli.watch import wait_for
from app.client.calls import Api
from tests.cli.conftest import Evalq
from tests.cli.fake_api import FakeApi, job, job_id

RESULTS = {
    "results": {
        "gsm8k": {"alias": "gsm8k", "exact_match,strict": 0.61, "exact_match_stderr,strict": 0.01},
        "wiki": {"word_perplexity,none": 12.0},
    },
    "higher_is_better": {"gsm8k": {"exact_match": True}, "wiki": {"word_perplexity": False}},
}


def test_waiting_looks_again_until_the_job_has_ended(api: FakeApi) -> None:
    api.states.extend([job(1, "queued"), job(1, "running"), job(1)])
    pauses: list[float] = []
    with Api(api.url) as client:
        [ended] = wait_for(client, [job_id(1)], pause=pauses.append)
    assert ended["status"] == "succeeded"
    assert len(pauses) == 2


def test_waiting_ends_when_the_time_is_over(api: FakeApi) -> None:
    api.jobs = [job(1, "running")]
    seconds = count(0, 30)
    with Api(api.url) as client:
        [left] = wait_for(client, [job_id(1)], 60, clock=lambda: next(seconds), pause=lambda _: None)
    assert left["status"] == "running"


@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 100), ("cancelled", 103), ("partially_failed", 104)]
)
def test_a_wait_ends_with_the_jobs_code(evalq: Evalq, api: FakeApi, status: str, code: int) -> None:
    api.jobs = [job(1, status)]
    assert evalq("wait", job_id(1)).exit_code == code


def test_a_wait_for_too_long_is_not_finished(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(1, "running")]
    assert evalq("wait", job_id(1), "--timeout", "0s").exit_code == 101


def test_several_jobs_end_with_the_worst_code(evalq: Evalq, api: FakeApi) -> None:
    api.jobs = [job(3), job(2, "failed"), job(1, "cancelled")]
    answer = evalq("wait", job_id(3), job_id(1), job_id(2))
    assert answer.exit_code == 100
    assert answer.stdout.splitlines()[1] == f"{job_id(1)}  cancelled"


def gated(evalq: Evalq, api: FakeApi, gate: str) -> int:
    api.jobs = [job(1)]
    api.answers[f"GET /v1/jobs/{job_id(1)}/results"] = (200, RESULTS)
    return evalq("wait", job_id(1), "--fail-under", gate).exit_code


@pytest.mark.parametrize(
    ("gate", "code"), [("gsm8k=0.6", 0), ("gsm8k=0.61", 0), ("gsm8k:exact_match=0.7", 105)]
)
def test_a_gate_holds_back_what_scores_below_it(evalq: Evalq, api: FakeApi, gate: str, code: int) -> None:
    assert gated(evalq, api, gate) == code


@pytest.mark.parametrize("gate", ["mmlu=0.5", "gsm8k:f1=0.5", "wiki=20", "gsm8k", "gsm8k=high"])
def test_a_gate_that_makes_no_sense_is_wrong_usage(evalq: Evalq, api: FakeApi, gate: str) -> None:
    assert gated(evalq, api, gate) == 2


def test_a_timeout_that_is_no_time_is_wrong_usage(evalq: Evalq) -> None:
    assert evalq("wait", job_id(1), "--timeout", "soon").exit_code == 2
