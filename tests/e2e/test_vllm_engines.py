"""Several vLLM engines, parallel ones and killed ones, beside `lm_eval run --model vllm`."""

from __future__ import annotations

from typing import Any

import psutil
import psycopg
import pytest

from tests.client import eventually
from tests.e2e.comparison import assert_same
from tests.e2e.conftest import JOB_TASKS, VLLM_ARGS, VLLM_LOADING_SECONDS
from tests.e2e.lm_eval_side import vllm_runs, vllm_words
from tests.e2e.stack import Stack
from tests.e2e.test_parity import is_engine
from tests.e2e.test_vllm_parity import LONG, SAMPLED, samples
from tests.gpu.difference import difference, outcome
from tests.reference import Reference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Body = dict[str, Any]
References = dict[str, Reference]


@pytest.fixture
def two(vllm_stack: Stack, vllm_body: Body) -> Body:
    """A job for two engines, which are warm already."""
    body = vllm_body | {"replicas": 2}
    while len(requests_done(vllm_stack)) < 2:
        job_id = vllm_stack.submit(body | LONG)
        assert vllm_stack.finished(job_id, VLLM_LOADING_SECONDS)["status"] == "succeeded"
    return body


def test_two_replicas_share_a_job_and_its_document_is_lm_evals_own(
    vllm_stack: Stack, two: Body, vllm_references: References
) -> None:
    for run, fields in {"plain": {}, "long": LONG}.items():
        before = requests_done(vllm_stack)
        job = vllm_stack.run(two | fields)
        assert_same(vllm_stack, job["id"], vllm_references[run])
        after = requests_done(vllm_stack)
        assert all(after[replica] > before[replica] for replica in before), run


def test_samples_depend_on_no_engine(vllm_stack: Stack, two: Body) -> None:
    sampled = two | {"tasks": ["e2e_generate"], "gen_kwargs": SAMPLED, "seed": 5}
    alone, shared = (vllm_stack.run(sampled | {"replicas": replicas})["id"] for replicas in (1, 2))
    assert samples(vllm_stack, alone) == samples(vllm_stack, shared)


@pytest.mark.parametrize("victim", ["engine", "core"])
def test_a_killed_engine_costs_nothing_but_time(
    vllm_stack: Stack, vllm_body: Body, vllm_references: References, victim: str
) -> None:
    job_id = vllm_stack.submit(vllm_body | LONG)
    busy = eventually(lambda: half_way(vllm_stack, job_id), VLLM_LOADING_SECONDS, "an engine at work")
    engine = next(p for p in psutil.process_iter(["cmdline"]) if is_engine(p, {"replicas": [{"id": busy}]}))
    core = next(child for child in engine.children() if "EngineCore" in child.cmdline()[0])
    (engine if victim == "engine" else core).kill()
    job = vllm_stack.finished(job_id, VLLM_LOADING_SECONDS)
    assert job["status"] == "succeeded", job
    assert_same(vllm_stack, job_id, vllm_references["long"])
    (error,) = [replica["error"] for replica in job["replicas"] if replica["id"] == busy]
    assert error["code"] == "engine_died", error


def test_two_ranks_give_lm_evals_numbers_on_two(
    vllm_stack: Stack, vllm_body: Body, vllm_references: References
) -> None:
    args = {**VLLM_ARGS, "tensor_parallel_size": 2}
    words = vllm_words(vllm_body["model_args"]["pretrained"], args, "--tasks", ",".join(JOB_TASKS))
    reference = vllm_runs({"ranks": words})["ranks"]
    body = vllm_body | {"model_args": vllm_body["model_args"] | {"tensor_parallel_size": 2}}
    job = vllm_stack.finished(vllm_stack.submit(body), VLLM_LOADING_SECONDS)
    assert job["status"] == "succeeded", job
    assert job["plan"]["gpus_per_replica"] == 2
    assert_same(vllm_stack, job["id"], reference)
    one = vllm_references["plain"]
    found = difference(outcome(vllm_stack, job["id"]), (one.results, one.samples))
    assert found.largest < 1e-3, "sums of two halves are rounded otherwise, and no more"


def half_way(stack: Stack, job_id: str) -> str | None:
    """An engine that has chunks of the job in hand, once others of its requests are answered."""
    with psycopg.connect(stack.database_url) as connection:
        query = """SELECT c.replica_id::text FROM chunks c JOIN jobs j ON j.id = c.job_id
            WHERE j.id = %s AND c.status = 'claimed' AND EXISTS (SELECT FROM chunks d
              WHERE d.job_id = j.id AND d.status = 'answered') LIMIT 1"""
        (found,) = connection.execute(query, [job_id]).fetchone() or (None,)
    return found


def requests_done(stack: Stack) -> dict[str, int]:
    """What each engine that is warm has answered."""
    with psycopg.connect(stack.database_url) as connection:
        query = "SELECT id::text, requests_done FROM replicas WHERE status = 'serving'"
        return dict(connection.execute(query).fetchall())
