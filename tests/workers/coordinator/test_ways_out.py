"""What a job is told of its memory: what would help one that failed for it, and what its length cuts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.failure import Failure, FailureCode
from app.domain.replica import ReplicaStatus
from tests.waiting import until
from tests.workers.coordinator.peers import KEYS, PREPARED, Engine, Try, chunk
from tests.workers.coordinator.test_endings import remedied
from tests.world import ENGINE
from workers.coordinator.endings import Ended
from workers.protocol.harness import AllCut, EngineSettled, FailureTold, Found, LookUp, TaskFailed


def test_a_job_that_failed_for_memory_says_what_would_help(
    one: Try, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedied(monkeypatch, None)
    longest = Failure(FailureCode.KV_CACHE_TOO_SMALL, "no room", facts={"longest": 64})
    cut = AllCut(((10, 3), (100, 2)))
    with one.running(PREPARED, LookUp(KEYS), chunk(), cut) as ending:
        one.child.hears(Found)
        until(lambda: one.job.phase != "preparing")
        engine.world.serving.end(engine.lease, ReplicaStatus.FAILED, longest)
        assert ending.result(20) == Ended()

    assert one.job.error
    (way, *_) = one.job.error.ways_out
    assert (way["change"], way["fits"]) == ({"model_args.max_length": 64}, True)
    assert way["note"].endswith("requests of more than 64 tokens are cut: 2 of the job's 5")
    (event,) = one.told("job.failed")
    assert event["error"]["ways_out"] == [dict(way) for way in one.job.error.ways_out]  # type: ignore[index]


def test_a_task_that_failed_for_memory_says_it_too(one: Try) -> None:
    fault = FailureTold("kv_cache_too_small", "no room", hint=None, traceback="")
    with one.evaluating(TaskFailed("toy", fault)):
        until(lambda: one.job.tasks[0].error)

    assert one.job.tasks[0].error
    assert one.job.tasks[0].error.of_memory


def test_a_plan_says_how_many_prompts_its_length_cuts(one: Try) -> None:
    engine = replace(ENGINE, args={"max_length": 64})
    settled = EngineSettled(engine.args)
    with one.running(settled, PREPARED, LookUp(KEYS), chunk(), AllCut(((10, 3), (100, 2)))):
        until(lambda: one.job.phase != "preparing")

    assert one.job.plan.explanation[-1] == "2 of 5 requests are longer than 64 tokens, and are cut"
    with one.again().running(settled, PREPARED, AllCut(((10, 3), (100, 2)))):
        until(lambda: one.job.phase != "preparing")
    assert sum("and are cut" in line for line in one.job.plan.explanation) == 1
