"""Leases and their fences: whoever comes late changes nothing, and whoever froze holds nothing up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db.session import Sessions, make_sessions
from app.domain.chunk import AfterFailure, Room
from app.domain.failure import Failure, FailureCode
from app.domain.job import LOST, MAX_LOSSES, Job, JobStatus
from app.domain.lease import Lease, Order
from app.domain.replica import ReplicaStatus
from app.errors import ChunkLostError, LeaseLostError
from app.services.jobs import JobService
from app.services.serving import Answer, Claimed
from app.settings import Settings
from tests.waiting import until
from tests.world import ENGINE, FINGERPRINT, World

ANSWER = Answer([b"a", b"b"], 0.1, 1)
FAILURE = Failure(FailureCode.TASK_ERROR, "the engine cannot answer this")


def replicas(world: World, count: int) -> list[Lease]:
    return [world.replica(device) for device in world.devices(count)]


def chunks(world: World, lease: Lease, most: int = 64) -> Sequence[Claimed]:
    return world.serving.next(lease, ENGINE.key, Room(1e9, most)).chunks


def taken_over(world: World, job: Lease) -> Lease:
    """The same job in another coordinator's hands, after the first one's lease was over."""
    world.expire(job)
    assert job.id in world.scheduling.expire_once()
    claimed = world.coordination.claim(job.id, "another")
    assert claimed
    return claimed[0]


def test_a_zombies_finish_is_refused(world: World) -> None:
    job = world.running()
    taken_over(world, job)
    before = world.events(job.id)
    with pytest.raises(LeaseLostError):
        world.coordination.finish(job, "{}", "model", "date")
    with pytest.raises(LeaseLostError):
        world.coordination.fail(job, FAILURE)
    assert world.jobs.view(job.id).job.status is JobStatus.RUNNING
    assert world.events(job.id) == before


def test_a_coordinator_that_wakes_late_takes_no_answers_from_its_successor(world: World) -> None:
    job, (replica,) = world.running(chunks=1), replicas(world, 1)
    (claimed,) = chunks(world, replica)
    successor = taken_over(world, job)
    assert world.coordination.pending_keys(job.id) == set(claimed.chunk.keys)
    world.serving.answer(replica, claimed, ANSWER)
    with pytest.raises(LeaseLostError):
        world.coordination.collect(job, FINGERPRINT)
    assert len(world.coordination.collect(successor, FINGERPRINT).responses) == 2


def test_a_job_whose_fingerprint_changed_waits_for_no_chunk_of_before(world: World) -> None:
    job, (replica,) = world.running(chunks=2), replicas(world, 1)
    (claimed,) = chunks(world, replica, 1)
    successor = taken_over(world, job)
    world.coordination.prepared(successor, b"a newer backend", [("toy", 4)], {})
    assert world.coordination.pending_keys(job.id) == set()
    with pytest.raises(ChunkLostError):
        world.serving.answer(replica, claimed, ANSWER)
    assert world.serving.renew(replica) is Order.GO_ON


def test_only_the_jobs_of_dead_holders_are_released_before_their_time(world: World) -> None:
    job = world.running()
    world.expire(job)
    assert world.coordination.release_holders(["somebody"]) == [], "its end is the scheduler's to declare"
    assert world.coordination.release_holders(["coordinator"]) == [job.id]


def test_a_resume_between_the_look_and_the_pause_is_kept(world: World) -> None:
    job = world.running()
    world.jobs.pause(job.id)
    assert world.coordination.order(job) is Order.PAUSE
    world.jobs.resume(job.id)
    assert not world.coordination.pause(job)
    assert world.jobs.view(job.id).job.status is JobStatus.RUNNING


def test_a_paused_job_is_put_aside_and_its_holder_let_go(world: World) -> None:
    job = world.running()
    world.jobs.pause(job.id)
    assert world.coordination.pause(job)
    assert world.jobs.view(job.id).job.status is JobStatus.PAUSED
    with pytest.raises(LeaseLostError):
        world.coordination.renew(job)


@pytest.mark.parametrize(
    ("ask", "status"),
    [(JobService.cancel, JobStatus.CANCELLED), (JobService.pause, JobStatus.PAUSED)],
    ids=["cancel", "pause"],
)
def test_what_a_lost_coordinator_was_asked_is_done_without_another(
    world: World, ask: Callable[[JobService, UUID], Job], status: JobStatus
) -> None:
    job = world.running()
    ask(world.jobs, job.id)
    world.expire(job)
    world.scheduling.expire_once()
    assert world.jobs.view(job.id).job.status is status
    assert [name for _, name in world.events(job.id)][-2:] == ["job.retrying", f"job.{status}"]


def test_a_cancel_that_a_leaving_coordinator_did_not_see_is_done(world: World) -> None:
    job = world.running()
    assert world.coordination.order(job) is Order.GO_ON
    world.jobs.cancel(job.id)
    world.coordination.stop(job, JobStatus.QUEUED, "its coordinator is shutting down")
    assert world.scheduling.expire_once() == [job.id]
    assert world.scheduling.expire_once() == []
    assert world.jobs.view(job.id).job.status is JobStatus.CANCELLED


def test_what_happened_to_a_held_job_is_read_under_its_lease(world: World) -> None:
    job = world.running()
    assert world.coordination.held(job).id == job.id
    world.expire(job)
    with pytest.raises(LeaseLostError):
        world.coordination.held(job)


def test_an_answer_told_twice_is_counted_once_and_costs_no_engine(world: World) -> None:
    world.running(chunks=1)
    (replica,) = replicas(world, 1)
    (claimed,) = chunks(world, replica)
    world.serving.answer(replica, claimed, ANSWER)
    with pytest.raises(ChunkLostError):
        world.serving.answer(replica, claimed, ANSWER)
    with world.sessions.begin() as session:
        assert session.scalar(text("SELECT requests_done FROM replicas")) == 2
    assert world.serving.renew(replica) is Order.GO_ON


def test_chunks_whose_claim_was_never_heard_of_wait_again(world: World) -> None:
    world.running(chunks=3)
    first, second = replicas(world, 2)
    heard, *unheard = chunks(world, first)
    assert world.serving.keep_only(first, [heard.chunk.id]) == 2
    assert world.serving.keep_only(first, [heard.chunk.id]) == 0
    assert {item.chunk.id for item in chunks(world, second)} == {item.chunk.id for item in unheard}
    world.serving.answer(first, heard, ANSWER)


def test_a_chunk_waits_again_after_its_first_failure(world: World) -> None:
    world.running(chunks=1)
    (replica,) = replicas(world, 1)
    (claimed,) = chunks(world, replica)
    assert world.fail(replica, claimed.chunk, FAILURE) is AfterFailure.AGAIN
    (again,) = chunks(world, replica)
    assert (again.chunk.id, again.chunk.failures) == (claimed.chunk.id, 1)


def test_a_failing_chunk_is_divided_until_the_guilty_request_stands_alone(world: World) -> None:
    job, (replica,) = world.running(chunks=4), replicas(world, 1)
    guilty, told, answered = b"2/1", [], 0
    while claimed := chunks(world, replica, 1):
        chunk = claimed[0].chunk
        if guilty in chunk.keys:
            world.fail(replica, chunk, FAILURE)
        else:
            world.serving.answer(replica, claimed[0], Answer([b"a"] * len(chunk.keys), 0.1, 1))
        found = world.coordination.collect(job, FINGERPRINT)
        told += found.failures
        answered += len(found.responses)
    assert told == [(guilty, FAILURE)]
    assert answered == 7
    assert world.coordination.pending_keys(job.id) == set()


def test_an_idle_replica_that_looks_for_work_writes_nothing(world: World) -> None:
    (replica,) = replicas(world, 1)
    versions = []
    for _ in range(3):
        assert not chunks(world, replica)
        with world.sessions.begin() as session:
            versions.append(session.execute(text("SELECT ctid, idle_since FROM replicas")).one())
    assert versions[0][1]
    assert versions[0] == versions[1] == versions[2]
    world.running(chunks=1)
    assert chunks(world, replica)
    with world.sessions.begin() as session:
        assert session.scalar(text("SELECT idle_since FROM replicas")) is None


def test_a_replica_that_ends_gives_its_chunks_and_devices_back_once(world: World) -> None:
    world.running(chunks=2)
    first, second = replicas(world, 2)
    assert len(chunks(world, first)) == 2
    world.serving.end(first, ReplicaStatus.RELEASED)
    with pytest.raises(LeaseLostError):
        world.serving.end(first, ReplicaStatus.FAILED, FAILURE)
    assert len(chunks(world, second)) == 2
    (group,) = world.groups.all()
    assert [device.state for device in group.group.devices] == ["dirty", "held"]


def test_a_row_in_someones_hands_does_not_hold_the_scheduler_up(world: World) -> None:
    job, (replica,) = world.running(), replicas(world, 1)
    world.expire(job)
    world.expire(replica)
    with world.sessions.begin() as frozen:
        for table in ("jobs", "replicas"):
            frozen.execute(text(f"SELECT 1 FROM {table} FOR UPDATE"))  # noqa: S608
        assert world.scheduling.expire_once() == []
        assert world.scheduling.announce_once() == 0
    assert set(world.scheduling.expire_once()) == {job.id, replica.id}


def test_a_process_frozen_in_a_transaction_loses_its_locks(world: World, settings: Settings) -> None:
    job = world.running()
    hasty = make_sessions(settings.model_copy(update={"lease_seconds": 0.2}))
    frozen = hasty()
    frozen.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
    until(lambda: not locked(world.sessions))
    frozen.invalidate()
    hasty.close()
    assert world.coordination.renew(job) is Order.GO_ON


def locked(sessions: Sessions) -> bool:
    with sessions.begin() as session:
        return not session.execute(text("SELECT 1 FROM jobs FOR UPDATE SKIP LOCKED")).all()


TELLING: list[Callable[[World, Lease], None]] = [
    lambda world, replica: world.serving.warn(replica, {"reason": "late"}),
    lambda world, replica: world.serving.loaded(replica, {}),
    lambda world, replica: world.serving.end(replica, ReplicaStatus.RELEASED),
]


@pytest.mark.parametrize("tell", TELLING, ids=["warn", "loaded", "end"])
def test_no_event_follows_the_terminal_one(world: World, tell: Callable[[World, Lease], None]) -> None:
    job, (replica,) = world.running(), replicas(world, 1)
    with ThreadPoolExecutor(1) as pool, world.sessions.begin() as session:
        session.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
        telling = pool.submit(tell, world, replica)
        until(lambda: someone_waits(world.sessions))
        session.execute(
            text("UPDATE jobs SET status = 'cancelled', phase = NULL, ended_at = now(), lease_token = NULL")
        )
        session.commit()
        telling.result(20)
    assert {kind for _, kind in world.events(job.id)} <= {"job.queued", "job.phase"}


def someone_waits(sessions: Sessions) -> bool:
    with sessions.begin() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(session.scalar(text(query)))


def test_a_job_that_loses_every_coordinator_fails_and_a_retry_forgives(world: World) -> None:
    job = world.running()
    for _ in range(MAX_LOSSES - 1):
        job = taken_over(world, job)
    world.expire(job)
    world.scheduling.expire_once()
    failed = world.jobs.view(job.id).job
    assert failed.status is JobStatus.FAILED
    assert failed.error == LOST
    assert world.events(job.id)[-1][1] == "job.failed"
    world.jobs.retry(job.id)
    claimed = world.coordination.claim(job.id, "another")
    assert claimed is not None
    taken_over(world, claimed[0])
