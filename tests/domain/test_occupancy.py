"""Which jobs a replica may have answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.engine_spec import EngineSpec
from app.domain.job import JobStatus
from app.domain.occupancy import MOST, Occupant, occupied
from app.domain.replica import Replica, ReplicaStatus

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ENGINE = EngineSpec("hf", "m")


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


REPLICA = Replica(UUID(int=1), "a", ENGINE, ReplicaStatus.RELEASED, ("a-0",), at(-60), ended_at=at(-30))
JOB = Occupant(
    *(UUID(int=2), "nightly", "red", "m", ENGINE.key, None, JobStatus.SUCCEEDED, None, 4, 4),
    *(at(-59), at(-31)),
)


@pytest.mark.parametrize(
    ("change", "met"),
    [
        ({}, True),
        ({"ended_at": None}, True),
        ({"started_at": at(-90)}, True),
        ({"ended_at": at(-60)}, False),
        ({"started_at": at(-30), "ended_at": at(-20)}, False),
        ({"engine_key": "another"}, False),
        ({"group": "b"}, False),
        ({"group": "a"}, True),
    ],
    ids=str,
)
def test_a_replica_answered_the_jobs_of_its_engine_that_ran_meanwhile(
    change: dict[str, object], met: bool
) -> None:
    (found,) = occupied([REPLICA], [replace(JOB, **change)])  # type: ignore[arg-type]
    assert bool(found.jobs) is met


def test_of_many_jobs_the_last_are_read() -> None:
    jobs = [replace(JOB, id=UUID(int=n), started_at=at(-59 + n / 100)) for n in range(MOST + 5)]
    (found,) = occupied([REPLICA], jobs)
    assert [job.id.int for job in found.jobs] == list(range(5, MOST + 5))
