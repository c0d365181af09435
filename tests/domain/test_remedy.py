"""What is tried when an engine fails, in which order, and when it is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.remedy import (
    LOST_LOADING,
    MOST_ATTEMPTS,
    Circumstances,
    Remedy,
    Troubles,
    attempts,
    may_change,
    may_fail_again,
)
from app.domain.replica import Replica, ReplicaStatus

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HF = EngineSpec("hf", "m")
OUT_OF_MEMORY = Failure(FailureCode.GPU_OUT_OF_MEMORY, "CUDA out of memory", hint="give it more GPUs")
IN_USE = Failure(FailureCode.ENGINE_START_FAILED, "it is in use", facts={"in_use": True, "refused": True})
CANNOT_TALK = Failure(FailureCode.NCCL_ERROR, "NCCL error in: NCCLUtils.hpp:268")
LOST = Failure(FailureCode.LOST, "its worker did not renew the lease")
DIED = Failure(FailureCode.ENGINE_START_FAILED, "the process was ended by SIGSEGV")
BROKEN = Failure(FailureCode.ENGINE_DIED, "it broke", facts={"broken_device": True})


def less(engine: EngineSpec, failure: Failure, now: Circumstances) -> Remedy | None:
    """A remedy for everything, which shows what it was asked with."""
    return Remedy(engine, f"{failure.code}, {now.widest} at most, {'loading' if now.loading else 'loaded'}")


def failed(error: Failure, *, minute: int, engine: EngineSpec = HF, served: bool = False) -> Replica:
    """A replica that failed in this minute, after it served or while it loaded."""
    placed, ended = NOW + timedelta(minutes=minute - 1), NOW + timedelta(minutes=minute)
    status, serving_at = ReplicaStatus.FAILED, placed if served else None
    return Replica(
        uuid7(), "a", engine, status, ("a-0",), placed, serving_at=serving_at, ended_at=ended, error=error
    )


def troubles(*newest_first: Replica, served_at: datetime | None = None, widest: int = 1) -> Troubles:
    return Troubles(newest_first, served_at, widest)


def test_a_device_in_use_is_waited_for_once() -> None:
    once = troubles(failed(IN_USE, minute=1))
    assert (once.remedy(HF, less), once.verdict()) == (None, None)
    twice = troubles(failed(IN_USE, minute=2), failed(IN_USE, minute=1))
    found = twice.remedy(HF, less)
    assert found is not None
    assert found.change == "engine_start_failed, 1 at most, loading"


def test_a_remedy_that_the_engine_has_outlived_is_not_taken() -> None:
    earlier = troubles(failed(OUT_OF_MEMORY, minute=1), served_at=NOW + timedelta(minutes=2), widest=2)
    assert (earlier.remedy(HF, less), earlier.verdict()) == (None, None)


def test_an_engine_that_served_and_ran_out_of_memory_gets_a_remedy_but_no_verdict() -> None:
    died = failed(OUT_OF_MEMORY, minute=2, served=True)
    found = troubles(died, served_at=NOW, widest=2).remedy(HF, less)
    assert found is not None
    assert found.change == "gpu_out_of_memory, 2 at most, loaded"
    assert troubles(died, served_at=NOW, widest=1).verdict() is None


def test_devices_that_cannot_talk_are_tried_elsewhere_once() -> None:
    assert troubles(failed(CANNOT_TALK, minute=1)).verdict() is None
    twice = troubles(failed(CANNOT_TALK, minute=2), failed(CANNOT_TALK, minute=1))
    verdict = twice.verdict()
    assert verdict is not None
    assert verdict.code == "nccl_error"


def test_broken_devices_are_not_the_engines_fault() -> None:
    assert troubles(*(failed(BROKEN, minute=minute) for minute in (3, 2, 1))).verdict() is None


def test_a_job_that_asked_for_its_width_is_told_that_it_could_be_wider() -> None:
    asked = replace(troubles(failed(OUT_OF_MEMORY, minute=1)), asked_width=True)
    verdict = asked.verdict()
    assert verdict is not None
    assert verdict.hint == "give it more GPUs; the job asks for 1 device per replica and gets no more"


def test_workers_that_are_lost_while_they_load_an_engine_are_held_against_it_in_the_end() -> None:
    lost = [failed(LOST, minute=minute) for minute in range(10, 0, -1)]
    assert troubles(*lost[1:]).verdict() is None
    verdict = troubles(*lost).verdict()
    assert verdict
    assert (verdict.code, verdict.hint) == ("lost", LOST_LOADING)


def test_lost_workers_do_not_make_a_failed_start_the_last_one() -> None:
    lost = [failed(LOST, minute=minute) for minute in (2, 1)]
    assert troubles(failed(DIED, minute=3), *lost).verdict() is None
    assert troubles(*(failed(DIED, minute=minute) for minute in (5, 4, 3)), *lost).verdict()


def test_an_engine_that_refuses_what_it_was_given_is_not_started_again() -> None:
    refused = replace(DIED, facts={"refused": True})
    verdict = troubles(failed(refused, minute=1)).verdict()
    assert verdict
    assert verdict.message == DIED.message
    for other in (DIED, IN_USE):
        assert troubles(failed(other, minute=1)).verdict() is None


def test_attempts_name_the_change_that_led_to_each() -> None:
    wider = replace(HF, gpus=2)
    replicas = [failed(OUT_OF_MEMORY, minute=1), failed(BROKEN, minute=2, engine=wider)]
    taken = [{"engine_key": HF.key, "change": "devices 1 -> 2"}]
    told = attempts(replicas, taken, wider.key)
    assert [(attempt["change"], attempt["outcome"]) for attempt in told] == [
        (None, "gpu_out_of_memory"),
        ("devices 1 -> 2", "engine_died"),
    ]
    assert len(attempts(replicas * MOST_ATTEMPTS, taken, wider.key)) == MOST_ATTEMPTS


@pytest.mark.parametrize(
    ("error", "again", "change"),
    [(OUT_OF_MEMORY, True, True), (BROKEN, False, True), (CANNOT_TALK, True, False)],
)
def test_a_failure_says_whether_the_same_may_fail_again_and_whether_jobs_may_want_something_else(
    error: Failure, again: bool, change: bool
) -> None:
    replica = failed(error, minute=1)
    assert (may_fail_again(replica), may_change(replica)) == (again, change)


def test_a_replica_failed_also_where_its_worker_was_lost_as_it_loaded() -> None:
    loading = replace(failed(LOST, minute=1), status=ReplicaStatus.LOST, claimed_at=NOW)
    assert loading.failed
    assert not replace(loading, serving_at=NOW).failed, "the worker alone"
    assert not replace(loading, claimed_at=None).failed, "nobody ever had it"


def test_a_replicas_end_on_another_jobs_request_is_known_by_its_kind_alone() -> None:
    mine, others = uuid7(), uuid7()
    replica = failed(replace(BROKEN, job_id=mine), minute=1)
    assert replica.seen_by(mine) == replica
    seen = replica.seen_by(others).error
    assert seen is not None
    assert (seen.code, seen.message) == (BROKEN.code, "the engine failed on a request of another job")
