"""Parked jobs: engines answer them while nobody has a place for them, and nothing of their story is lost or doubled."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from app.db.capacity import CapacityRepository, WaitingWork
from app.db.chunks import ChunkRepository
from app.db.line import BEING_WRITTEN
from app.db.parked_jobs import ParkedJobRepository
from app.domain.chunk import ChunkStatus, Room
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.job import Job, JobStatus, Phase, TaskStatus
from app.domain.lease import Lease, Order
from app.domain.parking import Stir
from app.errors import DatabaseUnreachableError, LeaseLostError
from app.services.serving import Answer
from tests.world import ENGINE, FINGERPRINT, World

MUCH = 1 << 40
FAILURE = Failure(FailureCode.TASK_ERROR, "the engine cannot answer this")


def parked(world: World, chunks: int = 2, **spec: object) -> Lease:
    lease = world.running(chunks, **spec)
    world.coordination.parking.park(lease)
    return lease


def due(world: World, chunks: int = 2, **spec: object) -> UUID:
    lease = parked(world, chunks, **spec)
    world.coordination.parking.give_back(lease)
    return lease.id


def job_of(world: World, job_id: UUID) -> Job:
    return world.jobs.view(job_id).job


def adopted(world: World, holder: str = "another") -> list[Lease]:
    return world.coordination.parking.adopt(holder)


def answer_all(world: World) -> None:
    replica = world.replica(world.devices(1)[0])
    while chunks := world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks:
        for claimed in chunks:
            world.serving.answer(replica, claimed, Answer([b"a", b"b"], 0.5, 7))


def wanted(world: World) -> list[WaitingWork]:
    with world.sessions.begin() as session:
        return CapacityRepository(session).work()


def stir(world: World, lease: Lease) -> Stir:
    return world.coordination.parking.stirs([lease])[lease.id]


def long_ago(world: World, column: str, job_id: UUID) -> None:
    with world.sessions.begin() as session:
        statement = f"UPDATE jobs SET {column} = now() - interval '1 minute' WHERE id = :id"  # noqa: S608
        session.execute(text(statement), {"id": job_id})


def test_engines_answer_a_parked_job(world: World) -> None:
    lease = parked(world)
    assert not stir(world, lease).moves
    answer_all(world)

    assert stir(world, lease).needs_harness
    answered = world.coordination.parking.count_answered(lease)
    assert (answered.requests, answered.seconds, answered.cost) == (4, 1.0, 20.0)
    assert world.coordination.parking.count_answered(lease).requests == 0
    assert len(world.coordination.lookup(FINGERPRINT, [b"0/0", b"0/1", b"1/0", b"1/1"])) == 4


def test_what_is_answered_is_stored_no_more(world: World) -> None:
    lease = parked(world)
    asked = "SELECT parked_bytes FROM jobs"
    with world.sessions.begin() as session:
        assert session.scalar(text(asked)) == 2 * len(b"...")
    answer_all(world)
    for _ in range(2):
        world.coordination.parking.count_answered(lease)
    with world.sessions.begin() as session:
        assert session.scalar(text(asked)) == 0


def test_a_failed_chunk_is_left_to_be_judged(world: World) -> None:
    lease = parked(world, chunks=1)
    replica = world.replica(world.devices(1)[0])
    while not stir(world, lease).unjudged:
        for claimed in world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks:
            world.fail(replica, claimed.chunk, FAILURE)

    assert world.coordination.parking.count_answered(lease).requests == 0
    assert stir(world, lease).unjudged
    failures = world.coordination.parking.failures(lease.id)
    assert {failure.message for failure in failures.values()} == {FAILURE.message}
    assert world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks == []


def test_no_engine_is_held_for_what_it_may_not_answer(world: World) -> None:
    lease = parked(world, chunks=2)
    replica = world.replica(world.devices(1)[0])
    first, _ = world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks
    with world.sessions.begin() as session:
        ChunkRepository(session).close(replica, first.chunk, ChunkStatus.FAILED, FAILURE)
    world.coordination.parking.give_back(lease)
    assert [work.chunks for work in wanted(world)] == [1]

    world.serving.keep_only(replica, [])
    assert world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks == []
    assert wanted(world) == []
    assert world.coordination.claim(lease.id, "another")
    assert [work.chunks for work in wanted(world)] == [1]


def test_a_job_that_is_due_goes_on_with_its_attempt(world: World) -> None:
    job_id = due(world)
    before, told = job_of(world, job_id), world.events(job_id)
    assert world.scheduling.announce_once() == 1
    assert world.scheduling.announce_once() == 0
    assert world.bell.jobs[-1] == job_id

    claimed = world.coordination.claim(job_id, "another")
    assert claimed
    lease, job = claimed
    assert (job.attempt, job.phase, job.status) == (before.attempt, Phase.EVALUATING, JobStatus.RUNNING)
    assert world.events(job_id) == told
    assert world.coordination.claim(job_id, "a third") is None
    assert world.coordination.parking.stirs([lease]) == {}


@pytest.mark.parametrize("how", ["its lease ends", "its holder is dead"])
def test_who_keeps_a_job_may_be_lost(world: World, how: str) -> None:
    lease = parked(world)
    told = world.events(lease.id)
    if how == "its lease ends":
        world.expire(lease)
        world.scheduling.expire_once()
    else:
        assert world.coordination.release_holders(["coordinator"]) == []
    with pytest.raises(LeaseLostError):
        world.coordination.parking.give_back(lease)
    assert world.coordination.claim(lease.id, "another") is None

    (again,) = adopted(world)
    assert again.id == lease.id
    assert adopted(world) == []
    assert world.events(lease.id) == told
    with world.sessions.begin() as session:
        assert session.scalar(text("SELECT losses FROM jobs")) == 0


def test_a_job_that_has_its_place_again_is_lost_like_any_other(world: World) -> None:
    claimed = world.coordination.claim(due(world), "coordinator")
    assert claimed
    world.expire(claimed[0])
    assert world.scheduling.expire_once() == [claimed[0].id]
    assert job_of(world, claimed[0].id).status is JobStatus.QUEUED
    assert adopted(world) == []


def test_leases_of_many_are_renewed_and_let_go_together(world: World) -> None:
    mine, lost = parked(world), parked(world)
    world.expire(lost)
    world.scheduling.expire_once()
    (others,) = adopted(world)
    parking = world.coordination.parking
    parking.renew_all([mine, lost])
    assert parking.stirs([mine, lost]).keys() == {mine.id}
    parking.let_go([mine, lost])

    assert parking.stirs([mine, lost, others]).keys() == {others.id}
    assert [lease.id for lease in adopted(world)] == [mine.id]


def test_more_leases_than_a_statement_has_parameters_are_renewed_together(world: World) -> None:
    mine = parked(world)
    leases = [mine, *(Lease(uuid7(), uuid7()) for _ in range(33_000))]
    world.coordination.parking.renew_all(leases)
    assert world.coordination.parking.stirs(leases).keys() == {mine.id}
    world.coordination.parking.let_go([])
    assert world.coordination.parking.stirs([mine])


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_one_that_nobody_keeps_is_ended_without_a_coordinator(world: World, how: str) -> None:
    kept, job_id = parked(world), due(world)
    for each in (kept.id, job_id):
        if how == "cancelled":
            world.jobs.cancel(each)
        else:
            long_ago(world, "deadline_at", each)
    assert world.scheduling.expire_once() == [job_id]
    assert job_of(world, kept.id).status is JobStatus.RUNNING
    ended = job_of(world, job_id)
    assert (ended.status, ended.phase) == (
        JobStatus.CANCELLED if how == "cancelled" else JobStatus.FAILED,
        None,
    )
    assert {task.status for task in ended.tasks} == {TaskStatus.FAILED}
    with world.sessions.begin() as session:
        left = "SELECT parked_at, due_at, parked_bytes FROM jobs WHERE id = :id"
        assert session.execute(text(left), {"id": job_id}).one() == (None, None, None)


def test_its_user_is_obeyed_also_where_it_is_due(world: World) -> None:
    job_id = due(world)
    assert adopted(world) == []
    world.jobs.cancel(job_id)
    (lease,) = adopted(world)
    assert stir(world, lease).order is Order.CANCEL
    world.coordination.stop(lease, JobStatus.CANCELLED, "cancelled by its user")

    assert job_of(world, job_id).status is JobStatus.CANCELLED
    world.jobs.retry(job_id)
    assert world.coordination.claim(job_id, "another")
    assert job_of(world, job_id).phase is Phase.PREPARING


def test_what_is_due_goes_before_what_begins_unless_that_is_more_urgent(world: World) -> None:
    job_id = due(world, priority=50)
    equal, urgent = world.submit(priority=50), world.submit(priority=60)
    world.scheduling.line_up_once()
    served = [world.coordination.claim(job_id, "coordinator") for _ in range(3)]

    assert [claim and claim[0].id for claim in served] == [urgent, job_id, equal]


def test_room_is_made_only_for_a_job_that_waits_for_it(world: World) -> None:
    lease, wants_room = world.running(chunks=1), world.coordination.parking.wants_room
    parked(world, 3)
    assert not wants_room(lease, MUCH)
    other = world.submit()
    world.scheduling.announce_once()
    assert not wants_room(lease, MUCH)
    long_ago(world, "sent_at", other)
    assert not wants_room(lease, 9)
    assert wants_room(lease, 10)


def test_room_is_made_beyond_the_bound_for_what_is_due_and_for_what_is_urgent(world: World) -> None:
    lease, wants_room = world.running(chunks=1), world.coordination.parking.wants_room
    long_ago(world, "due_at", due(world))
    assert wants_room(lease, 0)
    assert world.coordination.claim(lease.id, "another")
    assert not wants_room(lease, 0)
    world.submit(priority=99)
    assert wants_room(lease, 0)


def test_tasks_of_a_job_that_was_parked_stand_where_they_stood(world: World) -> None:
    lease = world.running(chunks=1)
    world.coordination.task_finished(lease, "toy", {"acc": 1.0})
    world.coordination.task_failed(lease, "lost", FAILURE)
    before, told = job_of(world, lease.id), world.events(lease.id)
    world.coordination.prepared(lease, FINGERPRINT, [("toy", 2)], {}, again=True)
    world.coordination.task_finished(lease, "toy", {"acc": 1.0})
    world.coordination.task_failed(lease, "lost", FAILURE)

    assert job_of(world, lease.id).tasks == before.tasks
    assert world.events(lease.id) == told


def test_a_task_that_is_given_up_counts_no_requests(world: World) -> None:
    lease = world.running(chunks=1)
    world.coordination.task_failed(lease, "toy", FAILURE, given_up=True)
    (task,) = job_of(world, lease.id).tasks
    assert (task.status, task.total) == (TaskStatus.FAILED, None)


def claimed_at_once(world: World) -> None:
    with world.sessions.begin() as session:
        session.execute(text("SET LOCAL lock_timeout = '10ms'"))
        ParkedJobRepository(session).claim_first("another", timedelta(seconds=9))


def test_what_is_due_is_claimed_by_a_line_that_is_written(world: World) -> None:
    job_id = due(world)
    with world.sessions.begin() as session:
        session.execute(select(func.pg_advisory_xact_lock(BEING_WRITTEN)))
        with pytest.raises(DatabaseUnreachableError):
            claimed_at_once(world)
    assert world.coordination.claim(job_id, "another")


def test_answers_that_go_by_another_name_by_now_are_asked_for_anew(world: World) -> None:
    lease = world.running(chunks=1)
    world.coordination.task_finished(lease, "toy", {"acc": 1.0})
    job = world.coordination.prepared(lease, b"another", [("toy", 2)], {}, again=True)

    assert (job.phase, job.tasks[0].metrics) == (Phase.PREPARING, None)
    assert world.coordination.pending_keys(lease.id) == set()
