"""The same job through evalq and through `lm_eval run --model vllm`: bit-identical, however it is run."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.client import eventually
from tests.e2e.comparison import assert_same
from tests.e2e.conftest import JOB_TASKS
from tests.e2e.stack import Stack
from tests.gpu.difference import outcome
from tests.reference import Reference

pytestmark = pytest.mark.timeout(900)  # the first one loads the engine

Body = dict[str, Any]
References = dict[str, Reference]

FIELDS: dict[str, Body] = {
    "plain": {},
    "cut": {"limit": 20, "num_fewshot": 6, "gen_kwargs": {"max_gen_toks": 120}},
    "chat": {"limit": 20, "apply_chat_template": True, "system_instruction": "Be brief."},
}
LONG: Body = {"tasks": ["e2e_long"]}
SAMPLED: Body = {"do_sample": True, "temperature": 1.5}


@pytest.mark.parametrize("run", list(FIELDS))
def test_the_document_is_lm_evals_own(
    vllm_stack: Stack, vllm_body: Body, vllm_references: References, run: str
) -> None:
    job = vllm_stack.run(vllm_body | FIELDS[run])
    assert job["progress"]["done"] == job["progress"]["total"] > 0
    assert_same(vllm_stack, job["id"], vllm_references[run])


def test_a_task_that_says_nothing_is_greedy_and_each_repeat_is_its_own(
    vllm_stack: Stack, vllm_body: Body, vllm_references: References
) -> None:
    reference = vllm_references["repeats"]
    job = vllm_stack.run(vllm_body | {"tasks": ["e2e_repeats"], "limit": 10})
    document, samples = outcome(vllm_stack, job["id"])
    rows, theirs = samples["e2e_repeats"], reference.samples["e2e_repeats"]
    assert [row["resps"] for row in rows] == [row["resps"] for row in theirs]
    assert [len(row["resps"][0]) for row in rows] == [3] * 10
    assert document["results"] == reference.results["results"]


def test_a_killed_coordinator_costs_nothing_but_time(
    vllm_stack: Stack, vllm_body: Body, vllm_references: References
) -> None:
    job_id = vllm_stack.submit(vllm_body | LONG)
    vllm_stack.until(job_id, is_half_done)
    vllm_stack.kill("coordinator")
    vllm_stack.start("coordinator")
    job = vllm_stack.finished(job_id)
    assert job["status"] == "succeeded", job
    assert_same(vllm_stack, job_id, vllm_references["long"])


def test_an_identical_job_asks_no_engine(
    vllm_stack: Stack, vllm_body: Body, vllm_references: References
) -> None:
    first, second = (vllm_stack.run(vllm_body | {"reuse_responses": True}) for _ in range(2))
    assert (first["progress"]["reused"], second["gpu_seconds"]) == (0, 0)
    assert second["progress"]["reused"] == second["progress"]["total"] == first["progress"]["total"]
    assert_same(vllm_stack, second["id"], vllm_references["plain"])


def test_a_seed_gives_the_same_samples_whatever_is_answered_beside_them(
    vllm_stack: Stack, vllm_body: Body
) -> None:
    sampled = vllm_body | {"tasks": ["e2e_generate"], "limit": 8, "gen_kwargs": SAMPLED, "seed": 5}
    others: tuple[Body, ...] = ({}, {"tasks": JOB_TASKS}, {"limit": 20}, {"seed": [5, 5, 6, 5]})
    drawn = [samples(vllm_stack, vllm_stack.run(sampled | other)["id"])[:8] for other in others]
    assert drawn[0] == drawn[1] == drawn[2] != drawn[3]
    assert len({text for texts in drawn[0] for text in texts}) > 4


@pytest.mark.slow
def test_jobs_share_a_warm_engine_and_one_is_cancelled_without_harm_to_the_other(
    vllm_stack: Stack, vllm_body: Body, vllm_references: References
) -> None:
    stays = vllm_stack.submit(vllm_body | LONG)
    goes = vllm_stack.submit(vllm_body | LONG | {"gen_kwargs": {"max_gen_toks": 100}, "priority": 1})
    eventually(lambda: claimed_of(vllm_stack, stays) and claimed_of(vllm_stack, goes), 240, "both in hand")
    assert vllm_stack.http.post(f"/jobs/{goes}/cancel").status_code == 200
    eventually(lambda: not claimed_of(vllm_stack, goes), 5, "the cancelled job's chunks given back")
    jobs = [vllm_stack.finished(job_id) for job_id in (stays, goes)]
    assert [job["status"] for job in jobs] == ["succeeded", "cancelled"]
    assert jobs[0]["progress"]["done"] == jobs[0]["progress"]["total"]
    assert_same(vllm_stack, stays, vllm_references["long"])
    assert {replica["id"] for replica in jobs[1]["replicas"]} == {jobs[0]["replicas"][0]["id"]}


def is_half_done(job: dict[str, Any]) -> bool:
    return int(job["progress"]["done"]) * 2 > int(job["progress"]["total"] or 0) > 0


def samples(stack: Stack, job_id: str) -> list[Any]:
    """Each document's responses to e2e_generate."""
    _, found = outcome(stack, job_id)
    return [row["resps"][0] for row in found["e2e_generate"] if row["filter"] == "strict"]


def claimed_of(stack: Stack, job_id: str) -> int:
    """Chunks of a job that an engine has in hand."""
    with psycopg.connect(stack.database_url) as connection:
        query = "SELECT count(*) FROM chunks WHERE job_id = %s AND status = 'claimed'"
        (count,) = connection.execute(query, [job_id]).fetchone() or (0,)
    return int(count)
