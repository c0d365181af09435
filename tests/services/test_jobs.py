"""Jobs as their users handle them."""

from __future__ import annotations

import select
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.db.session import make_sessions
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.domain.replica import ReplicaStatus
from app.errors import (
    IdempotencyConflictError,
    IdempotencyInFlightError,
    IllegalMoveError,
    UnknownJobError,
)
from app.services.jobs import JobService
from app.settings import Settings
from app.workloads.lm_eval.reading.read import Submission
from app.workloads.lm_eval.spec import LmEvalSpec
from tests.jobs import submission
from tests.services.test_leases import someone_waits
from tests.waiting import until
from tests.world import World


def test_the_doorbell_rings_after_the_commit(world: World) -> None:
    class Listening(type(world.bell)):  # type: ignore[misc]
        def ring_job(self, job_id: UUID) -> None:
            assert world.jobs.view(job_id).job.status is JobStatus.QUEUED
            super().ring_job(job_id)

    bell = Listening()
    job, created = JobService(sessions=world.sessions, doorbell=bell).submit(submission(), "alice")
    assert created
    assert bell.jobs == bell.woken == [job.id]


def test_a_job_is_stored_as_it_was_submitted(world: World) -> None:
    job_id = world.submit(name="n", priority=7, tags=["a"], tasks=("x", "y"))
    job = world.jobs.view(job_id).job
    assert (job.name, job.priority, job.tags, job.owner) == ("n", 7, ("a",), "alice")
    assert [task.name for task in job.tasks] == ["x", "y"]
    assert job.engine == submission().engine


def test_what_a_large_spec_asks_is_worked_out_before_the_team_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, held = world.sessions.kw["bind"].pool, []
    monkeypatch.setattr(LmEvalSpec, "questions", property(lambda _: held.append(pool.checkedout())))
    jobs = JobService(sessions=world.sessions, doorbell=world.bell, team_jobs=9)
    jobs.submit(submission(), "alice")
    assert held == [0]


def test_a_key_belongs_to_its_owner(world: World) -> None:
    first, _ = world.jobs.submit_once(submission, "alice", "k", "h")
    other, created = world.jobs.submit_once(submission, "bob", "k", "h")
    assert created
    assert other.id != first.id


def test_a_key_with_another_body_is_refused(world: World) -> None:
    world.jobs.submit_once(submission, "alice", "k", "h")
    with pytest.raises(IdempotencyConflictError):
        world.jobs.submit_once(submission, "alice", "k", "other")


def test_a_key_is_free_again_when_its_job_was_refused(world: World) -> None:
    def refuse() -> Submission:
        raise UnknownJobError("any error will do")

    with pytest.raises(UnknownJobError):
        world.jobs.submit_once(refuse, "alice", "k", "h")
    assert world.jobs.submit_once(submission, "alice", "k", "h")[1]


def test_a_key_is_held_while_its_job_is_checked(world: World) -> None:
    def post_again() -> Submission:
        with pytest.raises(IdempotencyInFlightError):
            world.jobs.submit_once(submission, "alice", "k", "h")
        return submission()

    assert world.jobs.submit_once(post_again, "alice", "k", "h")[1]


def test_a_retry_keeps_answers_and_counts_on(world: World) -> None:
    lease = world.running(chunks=1)
    world.coordination.fail(lease, Failure(FailureCode.INTERNAL, "broken"))
    failed = world.jobs.view(lease.id).job
    assert (failed.status, failed.error and failed.error.code) == (JobStatus.FAILED, "internal")
    retried = world.jobs.retry(lease.id)
    assert (retried.status, retried.error, retried.ended_at) == (JobStatus.QUEUED, None, None)
    assert world.bell.jobs[-1] == lease.id
    claimed = world.coordination.claim(lease.id, "c")
    assert claimed
    assert claimed[1].attempt == 2
    with pytest.raises(IllegalMoveError):
        world.jobs.retry(lease.id)


def test_changing_nothing_writes_nothing(world: World) -> None:
    job_id = world.submit(name="n")
    before = world.jobs.view(job_id).job
    assert world.jobs.change(job_id, name="n").version == before.version
    assert world.jobs.change(job_id, name="m").version == before.version + 1


def test_deleting_removes_what_belongs_to_the_job(world: World) -> None:
    job_id = world.submit()
    with pytest.raises(IllegalMoveError):
        world.jobs.delete(job_id)
    world.jobs.cancel(job_id)
    world.jobs.delete(job_id)
    for read in (world.jobs.view, world.jobs.delete, world.jobs.cancel):
        with pytest.raises(UnknownJobError):
            read(job_id)
    with pytest.raises(UnknownJobError):
        world.jobs.news(job_id, 0)


def test_a_submission_may_take_longer_to_check_than_a_transaction_may_be_idle(
    world: World, settings: Settings
) -> None:
    hasty = make_sessions(settings.model_copy(update={"lease_seconds": 0.2}))
    jobs = JobService(sessions=hasty, doorbell=world.bell)

    def check() -> Submission:
        hasty_one = hasty()
        hasty_one.execute(text("SELECT 1"))
        until(lambda: not alive(hasty_one))
        hasty_one.invalidate()
        return submission()

    job, created = jobs.submit_once(check, "alice", "key", "hash")
    assert created
    assert world.jobs.view(job.id).job.status is JobStatus.QUEUED
    hasty.close()


def alive(session: Session) -> bool:
    """Whether the server has not ended this idle session."""
    connection = session.connection().connection.driver_connection
    assert connection
    return select.select([connection.fileno()], [], [], 0)[0] == []


def test_a_job_that_is_retried_meanwhile_is_not_deleted(world: World) -> None:
    job_id = world.submit()
    world.jobs.cancel(job_id)
    with ThreadPoolExecutor(1) as pool, world.sessions.begin() as retrying:
        retrying.execute(text("UPDATE jobs SET status = 'queued', ended_at = NULL, version = version + 1"))
        deleting = pool.submit(world.jobs.delete, job_id)
        until(lambda: someone_waits(world.sessions))
        retrying.commit()
        with pytest.raises(IllegalMoveError):
            deleting.result()
    assert world.jobs.view(job_id).job.status is JobStatus.QUEUED


def test_news_says_when_a_job_has_ended(world: World) -> None:
    job_id = world.submit()
    assert not world.jobs.news(job_id, 0).ended
    world.jobs.cancel(job_id)
    assert not world.jobs.news(job_id, 0, limit=2).ended  # there may be more than one page
    assert world.jobs.news(job_id, 2, limit=2).ended


def test_a_list_has_no_unknown_owner(world: World) -> None:
    world.submit()
    assert world.jobs.page(JobFilter(owner="bob"), 10, None).views == []


def test_an_unknown_job_has_no_events(world: World) -> None:
    with pytest.raises(UnknownJobError):
        world.jobs.events(uuid7(), 0)


def test_a_job_keeps_the_replicas_that_lived_while_it_ran(world: World) -> None:
    devices = world.devices(2)
    lease = world.running(chunks=1)
    broken = world.replica(devices[0])
    world.serving.end(broken, ReplicaStatus.FAILED, Failure(FailureCode.ENGINE_START_FAILED, "no"))
    serving = world.replica(devices[1])
    world.coordination.stop(lease, JobStatus.CANCELLED, "cancelled")
    world.serving.end(serving, ReplicaStatus.RELEASED)
    replicas = world.jobs.view(lease.id).replicas
    assert [(replica.id, replica.status) for replica in replicas] == [
        (broken.id, ReplicaStatus.FAILED),
        (serving.id, ReplicaStatus.RELEASED),
    ]
    assert world.jobs.view(world.submit()).replicas == []
