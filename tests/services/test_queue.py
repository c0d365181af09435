"""The queue: all that waits, in the order it is served, and what a job says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db import listings
from app.db.leader import Leadership
from app.db.waits import WaitRepository
from app.domain.ahead import Why
from app.domain.chunk import Room
from app.domain.failure import Failure, FailureCode
from app.domain.job import JobStatus, Phase
from app.domain.job_filter import JobFilter
from app.domain.replica import ReplicaStatus
from app.domain.waits import Cause
from app.services.coordination import Progress
from app.services.jobs import utc_now
from app.services.queue import NO_BROKER, QueuePage, QueueService
from app.services.serving import Answer
from app.settings import Settings
from tests.jobs import submission
from tests.services.test_parking import due, parked
from tests.waiting import until
from tests.world import ENGINE, TTL, World


@pytest.fixture
def _leads(world: World, settings: Settings) -> Iterator[None]:
    """A scheduler that leads."""
    with Leadership(settings).sought(60.0) as lead:
        assert lead
        yield


def page(world: World, limit: int = 100, after: int = 0, sees: str | None = None) -> QueuePage:
    return QueueService(sessions=world.sessions, ttl=TTL).page(limit, after, sees)


def causes(world: World) -> list[tuple[UUID, Cause]]:
    return [(item.job.id, item.wait.cause) for item in page(world).waiting]


def reason(world: World, job_id: UUID) -> str:
    """As the job itself says it."""
    return world.jobs.view(job_id).reason or ""


def test_jobs_with_large_outlines_are_all_in_the_queue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "MOST_BYTES", 10)
    waiting = [world.submit() for _ in range(3)]
    assert [item.job.id for item in page(world).waiting] == waiting


def test_a_job_whose_engines_left_with_its_last_answer_waits_for_no_devices(world: World) -> None:
    lease = parked(world, 1)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET phase = 'loading'"))
    replica = world.replica(world.devices(1)[0])
    (claimed,) = world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks
    world.serving.answer(replica, claimed, Answer([b"a", b"b"], 0.5, 7))
    world.serving.end(replica, ReplicaStatus.RELEASED)
    assert reason(world, lease.id) == "waiting for its coordinator, to score what its engines answered"
    assert causes(world) == [(lease.id, Cause.COORDINATOR)]


def test_since_when_no_scheduler_leads_is_told(world: World, settings: Settings) -> None:
    job = parked(world)
    world.devices(1)
    with Leadership(settings).sought(60.0) as lead:
        assert lead
        lead.check()
        assert page(world).troubles == []
    until(lambda: page(world).troubles)
    with world.sessions.begin() as session:
        heard = session.scalar(text("UPDATE leader SET heard_at = '2026-11-27 12:00:00Z' RETURNING heard_at"))
    since = "none leads since 2026-11-27 12:00:00 UTC"
    assert page(world).troubles == [f"no job gets devices until a scheduler leads: {since}"]
    assert reason(world, job.id) == f"waiting for a scheduler to give it 1 free device in one group: {since}"
    assert page(world).waiting[0].wait.since == heard


@pytest.mark.usefixtures("_leads")
def test_all_that_waits_is_in_the_queue_and_nothing_else(world: World) -> None:
    paused = world.submit(priority=99)
    world.jobs.pause(paused)
    served, turn = world.running(chunks=3), world.running(chunks=1)
    devices = world.devices(2)
    scoring, done, preparing = world.running(), world.running(), world.running()
    world.coordination.enter(scoring, Phase.SCORING, "scoring")
    world.coordination.enter(preparing, Phase.PREPARING, "preparing prompts")
    world.coordination.stop(done, JobStatus.CANCELLED, "cancelled")
    queued = world.submit()
    replica = world.replica(devices[0])
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, Room(1.0, 1))
    assert causes(world) == [(turn.id, Cause.TURN), (queued, Cause.COORDINATOR), (paused, Cause.USER)]
    assert served.id not in dict(causes(world))
    said = "waiting for its turn on 1 replica in group a shared with other jobs, now job"
    assert reason(world, turn.id) == f"{said} {str(served.id)[:13]}"
    world.expire(preparing)
    assert (preparing.id, Cause.COORDINATOR_LOST) in causes(world)


def test_a_job_that_engines_answer_is_told_without_reading_the_cluster(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, turn = world.running(chunks=3), world.running(chunks=1)
    replica = world.replica(world.devices(1)[0])
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, Room(1.0, 1))
    with monkeypatch.context() as patched:
        patched.delattr(WaitRepository, "cluster")
        assert world.jobs.view(served.id).wait is None
        with pytest.raises(AttributeError):
            world.jobs.view(turn.id)
    assert world.jobs.view(turn.id).wait


@pytest.mark.usefixtures("_leads")
def test_the_reason_follows_what_becomes_of_the_group(world: World) -> None:
    lease = world.running(chunks=1)
    world.coordination.enter(lease, Phase.WAITING_FOR_GPU, "as its coordinator saw it")
    assert reason(world, lease.id) == "waiting for the backend hf in a running group"
    device = world.devices(1)[0]
    assert reason(world, lease.id) == "waiting for 1 free device in one group"
    world.groups.drain("a")
    assert reason(world, lease.id) == "waiting for group a, which is draining"
    world.groups.resume("a")
    replica = world.replica(device)
    assert reason(world, lease.id).startswith("waiting for its engine to load in group a, since 20")
    error = Failure(FailureCode.ENGINE_START_FAILED, "no such file")
    world.serving.end(replica, ReplicaStatus.FAILED, error)
    assert "to start its engine again: it failed in a at 20" in reason(world, lease.id)
    world.silence("a")
    (waiting,) = page(world).waiting
    assert waiting.wait.since
    assert timedelta(hours=23) < utc_now() - waiting.wait.since < timedelta(hours=25)
    assert reason(world, lease.id) == f"waiting for {waiting.wait.words}"
    assert waiting.wait.words.startswith("group a, whose worker is gone since 20")


def test_a_list_of_jobs_gives_the_reasons_that_each_job_gives(world: World) -> None:
    world.running(chunks=1)
    world.submit()
    world.jobs.pause(world.submit())
    listed = {view.job.id: view.reason for view in world.jobs.page(JobFilter(), 10, None).views}
    assert listed == {job_id: reason(world, job_id) for job_id in listed}
    assert len(listed) == 3


def test_a_queue_without_a_scheduler_says_so(world: World, settings: Settings) -> None:
    assert page(world).troubles == []
    lease = world.running(chunks=1)
    world.coordination.enter(lease, Phase.WAITING_FOR_GPU, "")
    world.devices(1)
    assert page(world).troubles == ["no job gets devices until a scheduler leads: none leads"]
    assert reason(world, lease.id).startswith("waiting for a scheduler")
    with Leadership(settings).sought(60.0):
        assert page(world).troubles == []
        assert reason(world, lease.id) == "waiting for 1 free device in one group"


@pytest.mark.usefixtures("_leads")
def test_a_queue_whose_broker_is_away_says_so(world: World) -> None:
    queue = QueueService(sessions=world.sessions, ttl=TTL, rings=lambda: False)
    assert queue.page(1).troubles == [], "nobody waits"
    world.submit()
    assert queue.page(1).troubles == [NO_BROKER]


def test_each_job_says_who_is_ahead_and_why(world: World) -> None:
    low, urgent = world.submit(priority=1), world.submit(priority=90)
    world.submit()
    second = world.submit()
    other = world.jobs.submit(submission(), "bob", team="b")[0].id
    world.scheduling.line_up_once()
    line = {item.job.id: item for item in page(world).waiting}
    assert [next(iter(line)), *list(line)[3:]] == [urgent, second, low]
    last = line[low].standing
    assert last
    assert (last.rank.position, last.rank.ahead) == (5, {Why.PRIORITY: 4})
    assert [job for job, _ in last.first] == list(line)[:3]
    seen = {item.job.id: item for item in page(world, sees="b").waiting}
    own = seen[low].standing
    assert own
    assert own.first == ((other, Why.PRIORITY),)
    after = line[second].standing
    assert after
    assert after.rank.ahead == {Why.PRIORITY: 1, Why.SHARE: 1, Why.EARLIER: 1}


def test_the_queue_is_read_in_pages(world: World) -> None:
    ids = [world.submit() for _ in range(3)]
    world.jobs.pause(ids[0])
    first = page(world, 2)
    assert [item.job.id for item in first.waiting] == ids[1:]
    assert (first.total, first.next_position) == (3, 2)
    rest = page(world, 2, 2)
    assert [(item.job.id, item.position, item.standing) for item in rest.waiting] == [(ids[0], 3, None)]
    assert rest.next_position is None
    beyond = page(world, 2, 9)
    assert (beyond.waiting, beyond.total, beyond.next_position) == ([], 3, None)


def test_a_pace_is_forgotten_where_engines_load_again(world: World) -> None:
    job = world.running(chunks=1)
    world.coordination.progress(job, Progress(1, {"toy": 1}, {"eta_seconds": 12.0}), {}, 0.0)
    world.coordination.enter(job, Phase.LOADING, "loading")
    world.coordination.enter(job, Phase.EVALUATING, "evaluating")
    assert world.jobs.view(job.id).progress.eta_seconds is None


def test_a_parked_job_waits_like_others_until_it_is_due(world: World) -> None:
    waits = parked(world)
    world.coordination.enter(waits, Phase.WAITING_FOR_GPU, "")
    job = due(world)
    found = dict(causes(world))
    assert (found[waits.id], found[job]) == (Cause.BACKEND, Cause.COORDINATOR)
    assert reason(world, job) == "waiting for a coordinator, to go on with what its engines answered"
    assert world.coordination.claim(job, "coordinator")
    assert dict(causes(world))[job] is Cause.BACKEND


def test_a_long_queue_is_read_in_bounded_pieces(world: World) -> None:
    job = world.submit()
    world.scheduling.line_up_once()
    copy = """INSERT INTO jobs
        (id, owner, team, status, priority, tags, spec, engine, engine_key, plan, created_at, turn)
        SELECT gen_random_uuid(), 'bob', 'b', status, priority, tags, spec, engine, engine_key, plan, now(), number
        FROM jobs, generate_series(2, 3000) AS number WHERE id = :id"""
    with world.sessions.begin() as session:
        session.execute(text(copy), {"id": job})
    found = page(world, 10, 2000)
    assert (len(found.waiting), found.total, found.next_position) == (10, 3000, 2010)
    standing = found.waiting[0].standing
    assert standing
    assert sum(standing.rank.ahead.values()) == 2000


def test_a_queue_of_large_jobs_is_read_without_their_specs(world: World) -> None:
    job_id = world.submit(system_instruction="x" * 100_000)
    (waiting,) = page(world).waiting
    assert waiting.job.id == job_id
    assert len(str(waiting.job.spec)) < 1000
