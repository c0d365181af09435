"""What people look at first, from what is stored."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.db import occupancies
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.domain.replica import ReplicaStatus
from app.services import overview as module
from app.services.jobs import utc_now
from app.services.overview import OverviewService
from tests.world import World


def test_replicas_are_shown_with_the_jobs_that_they_answered(world: World) -> None:
    overview = OverviewService(sessions=world.sessions)
    world.devices(2)
    lease = world.running(chunks=1, name="nightly")
    live, over = world.placed("GPU-0"), world.replica("GPU-1")
    world.serving.end(over, ReplicaStatus.RELEASED)
    found = {each.replica.id: each for each in overview.occupied(utc_now() - timedelta(hours=3))}
    assert found.keys() == {live, over.id}
    assert {job.id for each in found.values() for job in each.jobs} == {lease.id}
    later = overview.occupied(utc_now() + timedelta(hours=1))
    assert [each.replica.id for each in later] == [live], "what ended before is not read"


def test_a_replica_is_shown_with_its_job_however_many_are_parked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occupancies, "MOST", 1)
    world.devices(1)
    world.running(chunks=1, model="/models/other")
    lease = world.running(chunks=1)
    world.placed("GPU-0")
    world.running(chunks=1, model="/models/other")
    (found,) = OverviewService(sessions=world.sessions).occupied(utc_now())
    assert [job.id for job in found.jobs] == [lease.id]


def test_jobs_are_counted_by_status_as_a_filter_lets_them_through(world: World) -> None:
    overview = OverviewService(sessions=world.sessions)
    world.submit(owner="alice")
    world.jobs.cancel(world.submit(owner="bob"))
    world.running(owner="bob")
    everybody = overview.counts(JobFilter(status="failed"))
    assert everybody.by_status == {JobStatus.QUEUED: 1, JobStatus.CANCELLED: 1, JobStatus.RUNNING: 1}
    assert (everybody.total, everybody.bounded) == (3, False)
    assert overview.counts(JobFilter(owner="bob")).total == 2
    assert overview.counts(JobFilter(team="nobody")).total == 0


def test_a_count_of_many_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COUNTED", 1)
    for _ in range(3):
        world.submit(owner="bob")
    found = OverviewService(sessions=world.sessions).counts(JobFilter(owner="bob"))
    assert (found.total, found.bounded) == (2, True)
