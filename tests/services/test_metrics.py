"""Counts only grow: through restarts, deaths, retries and pruning."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db import tallies
from app.domain.chunk import Room
from app.domain.failure import Failure, FailureCode
from app.domain.job import Phase
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.domain.tally import Counted
from app.services.metrics import MetricsService
from app.services.retention import Ages, RetentionService
from app.services.serving import Answer
from app.settings import Settings
from tests.world import ENGINE, World


@pytest.fixture
def metrics(world: World) -> MetricsService:
    return MetricsService(sessions=world.sessions)


def counted(metrics: MetricsService, what: Counted) -> dict[tuple[str, ...], float]:
    """Amounts by the values of their labels."""
    found: dict[tuple[str, ...], float] = {}
    for tally in metrics.read().tallies:
        if tally.what is what:
            key = tuple(tally.labels.values())
            found[key] = found.get(key, 0) + tally.amount
    return found


def times(metrics: MetricsService, what: Counted) -> int:
    return sum(tally.times for tally in metrics.read().tallies if tally.what is what)


def answered(world: World, replica: Lease) -> None:
    """All chunks there are, by this replica."""
    while chunks := world.serving.next(replica, ENGINE.key, Room(10, 10**9)).chunks:
        for claimed in chunks:
            values = [b"1"] * len(claimed.chunk.keys)
            world.serving.answer(replica, claimed, Answer(values, 1.0, 50))


def forgotten(world: World, settings: Settings) -> None:
    """All that has ended is older than the operator keeps it."""
    with world.sessions.begin() as session:
        for statement in (
            "UPDATE jobs SET ended_at = '2020-01-01', started_at = '2019-12-31'",
            "UPDATE replicas SET ended_at = '2020-01-01' WHERE ended_at IS NOT NULL",
        ):
            session.execute(text(statement))
    pruning = RetentionService(sessions=world.sessions, settings=settings)
    assert sum(count for _, count in pruning.sweep(Ages(jobs=timedelta(days=1)))) >= 1


def test_a_job_is_counted_when_it_ends_and_stays_counted_when_it_is_forgotten(
    world: World, metrics: MetricsService, settings: Settings
) -> None:
    done = world.running()
    world.coordination.task_finished(done, "toy", {"acc,none": 0.5})
    world.coordination.finish(done, "{}", "tiny", "today")
    world.coordination.fail(world.running(), Failure(FailureCode.DATASET_ERROR, "no data"))
    world.jobs.cancel(world.submit())
    expected = {
        ("", "succeeded", "hf"): 1,
        ("dataset_error", "failed", "hf"): 1,
        ("", "cancelled", "hf"): 1,
    }
    assert counted(metrics, Counted.JOBS_FINISHED) == expected
    forgotten(world, settings)
    assert sum(metrics.read().jobs.values()) == 0
    assert counted(metrics, Counted.JOBS_FINISHED) == expected


def test_a_retried_job_ends_twice(world: World, metrics: MetricsService) -> None:
    job_id = world.submit()
    world.jobs.cancel(job_id)
    world.jobs.retry(job_id)
    world.jobs.cancel(job_id)
    assert sum(counted(metrics, Counted.JOBS_FINISHED).values()) == 2


def test_a_job_waits_once_and_its_phases_are_known_at_its_end(world: World, metrics: MetricsService) -> None:
    lease = world.running()
    assert times(metrics, Counted.QUEUE_WAIT) == 1
    world.coordination.stop(lease, world.jobs.view(lease.id).job.status.QUEUED, "back")
    again = world.coordination.claim(lease.id, "another")
    assert again
    world.coordination.enter(again[0], Phase.SCORING, "scoring")
    world.coordination.finish(again[0], "{}", "tiny", "today")
    assert times(metrics, Counted.QUEUE_WAIT) == 1
    phases = {tally.labels["phase"] for tally in metrics.read().tallies if tally.what is Counted.PHASE}
    assert phases == {"preparing", "evaluating", "scoring"}


def test_what_a_replica_did_is_counted_while_it_lives_and_after(
    world: World, metrics: MetricsService, settings: Settings
) -> None:
    [device] = world.devices(1)
    job, replica = world.running(chunks=2), world.replica(device)
    answered(world, replica)
    before = counted(metrics, Counted.REQUESTS), counted(metrics, Counted.TOKENS)
    assert before == ({("a", "hf"): 4}, {("processed",): 100})
    world.serving.end(replica, ReplicaStatus.RELEASED)
    assert (counted(metrics, Counted.REQUESTS), counted(metrics, Counted.TOKENS)) == before
    world.coordination.finish(job, "{}", "tiny", "today")
    forgotten(world, settings)
    assert (counted(metrics, Counted.REQUESTS), counted(metrics, Counted.TOKENS)) == before


def test_device_seconds_are_told_before_they_are_booked_and_after(
    world: World, metrics: MetricsService
) -> None:
    [device] = world.devices(1)
    world.running(chunks=1)
    replica = world.replica(device)
    answered(world, replica)
    before = counted(metrics, Counted.GPU_SECONDS)
    assert before["useful",] > 0
    assert world.scheduling.book_once() > 0
    assert counted(metrics, Counted.GPU_SECONDS) == pytest.approx(before)
    with world.sessions.begin() as session:
        session.execute(text("DELETE FROM usage"))
    assert counted(metrics, Counted.GPU_SECONDS) == pytest.approx(before)


@pytest.mark.parametrize("by_lease", [True, False])
def test_what_a_lost_replica_did_stays_counted(
    world: World, metrics: MetricsService, *, by_lease: bool
) -> None:
    [device] = world.devices(1)
    world.running(chunks=1)
    replica = world.replica(device)
    answered(world, replica)
    if by_lease:
        world.expire(replica)
        world.scheduling.expire_once()
    else:
        world.serving.release_holders(["worker"])
    assert counted(metrics, Counted.REQUESTS) == {("a", "hf"): 2}
    assert counted(metrics, Counted.LEASE_EXPIRED) == ({("replica",): 1} if by_lease else {})


def test_a_job_whose_coordinator_falls_silent_is_a_lease_that_expired(
    world: World, metrics: MetricsService
) -> None:
    world.expire(world.running())
    for _ in range(2):
        world.scheduling.expire_once()
    assert counted(metrics, Counted.LEASE_EXPIRED) == {("job",): 1}


@pytest.fixture
def folds_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "FOLD_AT", 0)


@pytest.mark.usefixtures("folds_at_once")
def test_adding_up_changes_no_count(world: World, metrics: MetricsService) -> None:
    for _ in range(3):
        world.coordination.finish(world.running(), "{}", "tiny", "today")
        world.jobs.cancel(world.submit())
    before = {(tally.what, tally.bound, *tally.labels.values()): tally for tally in metrics.read().tallies}
    for _ in range(2):
        world.scheduling.tidy_once()
        after = metrics.read().tallies
        assert {(tally.what, tally.bound, *tally.labels.values()): tally.times for tally in after} == {
            key: tally.times for key, tally in before.items()
        }
        with world.sessions.begin() as session:
            assert session.scalar(text("SELECT count(*) FROM tallies")) == len(before)


def test_a_change_that_is_rolled_back_is_not_counted(world: World, metrics: MetricsService) -> None:
    lease = world.running()
    world.expire(lease)
    world.scheduling.expire_once()
    with pytest.raises(Exception, match="lease"):
        world.coordination.fail(lease, Failure(FailureCode.INTERNAL, "too late"))
    assert counted(metrics, Counted.JOBS_FINISHED) == {}


def test_jobs_are_told_by_status_and_the_group_they_are_bound_to(
    world: World, metrics: MetricsService
) -> None:
    world.jobs.cancel(world.submit())
    world.running()
    world.submit()
    assert metrics.read().jobs == {("queued", ""): 1, ("running", ""): 1, ("cancelled", ""): 1}
    with world.sessions.begin() as session:
        session.execute(text('UPDATE jobs SET plan = plan || \'{"group": "a"}\''))
    told = {("queued", "unknown"): 1, ("running", "unknown"): 1, ("cancelled", ""): 1}
    assert metrics.read().jobs == told, "a user's word for a group names none"
    world.devices(1, group="a")
    assert metrics.read().jobs == {("queued", "a"): 1, ("running", "a"): 1, ("cancelled", ""): 1}
