"""Estimates from what the database knows, made once for everybody who asks."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db import foretold
from app.domain.chunk import Room
from app.domain.estimates import Estimates, Outstanding
from app.domain.forecast import Forecast
from app.domain.ids import uuid7
from app.domain.job import Phase
from app.domain.keys import DEFAULT_TEAM
from app.domain.line import InLine
from app.services import estimates as module
from app.services.coordination import Progress
from app.services.estimates import EstimateService
from app.services.jobs import utc_now
from app.services.queue import QueueService
from app.settings import Settings
from tests.jobs import submission
from tests.world import ENGINE, TTL, World


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def estimates(world: World, settings: Settings, clock: Clock) -> EstimateService:
    return EstimateService(sessions=world.sessions, settings=settings, clock=clock)


def learnt(world: World, *, load: float, speed: float) -> None:
    """An engine like that of the tests was loaded before, and answered."""
    replica = world.placed(*world.devices(1))
    statement = """UPDATE replicas SET claimed_at = now() - interval '1 hour', ended_at = now(), status = 'released',
        serving_at = now() - interval '1 hour' + make_interval(secs => :load), cost_done = :speed * 100,
        busy_seconds = 100 WHERE id = :id"""
    with world.sessions.begin() as session:
        session.execute(text(statement), {"id": replica, "load": load, "speed": speed})
        session.execute(text("UPDATE devices SET state = 'free', replica_id = NULL"))


def told(estimates: EstimateService) -> Estimates:
    """What is known when nobody looks any more."""
    estimates.latest()
    estimates.close()
    return estimates.latest()


def waiting(world: World, chunks: int) -> UUID:
    lease = world.running(chunks=chunks)
    world.coordination.enter(lease, Phase.WAITING_FOR_GPU, "")
    return lease.id


def test_a_job_that_cannot_be_read_keeps_estimates_from_no_other(
    world: World, estimates: EstimateService
) -> None:
    """Another version wrote it."""
    waiting(world, 1)
    with world.sessions.begin() as session:
        session.execute(text("""UPDATE jobs SET engine = engine || '{"of_tomorrow": 1}'"""))
    learnt(world, load=40.0, speed=2.0)
    other = waiting(world, 1)
    assert set(told(estimates).jobs) == {other}


def test_jobs_begin_one_after_the_other_as_engines_took_before(
    world: World, estimates: EstimateService
) -> None:
    learnt(world, load=40.0, speed=2.0)
    first, second = waiting(world, 6), waiting(world, 6)
    queued = world.submit()
    estimates.look_once()
    page = QueueService(sessions=world.sessions, ttl=TTL, estimates=lambda: estimates._known).page(10)
    found = {item.job.id: item.estimate for item in page.waiting}
    assert set(found) == {first, second, queued}
    one, two, three = (found[job] or Forecast() for job in (first, second, queued))
    assert one.start == pytest.approx(40, abs=2)
    assert one.end == pytest.approx(70, rel=0.1)
    assert two.start is not None
    assert (one.start or 0.0) <= two.start
    assert two.end == pytest.approx(100, rel=0.1)
    assert three.start_low is not None
    assert three.start is not None
    assert three.start_low <= three.start


def test_a_job_that_is_answered_is_told_when_it_ends(world: World, estimates: EstimateService) -> None:
    learnt(world, load=40.0, speed=2.0)
    lease = world.running(chunks=6)
    replica = world.replica("GPU-0")
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, Room(1.0, 1))
    world.coordination.progress(lease, Progress(0, {"toy": 0}, {"eta_seconds": 30.0}), {}, 0.0)
    estimates.look_once()
    found = estimates._known.of(lease.id, utc_now())
    assert found
    assert (found.start or 0.0) <= 1.0
    assert found.end == pytest.approx(30, rel=0.2)


def test_what_can_run_nowhere_and_what_is_put_aside_has_no_estimate(
    world: World, estimates: EstimateService
) -> None:
    paused, lease = world.submit(), waiting(world, 1)
    world.jobs.pause(paused)
    estimates.look_once()
    assert [estimates._known.of(job, utc_now()) for job in (paused, lease)] == [None, None]


def test_only_the_first_in_line_are_told(
    world: World, estimates: EstimateService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_JOBS", 2)
    learnt(world, load=1.0, speed=2.0)
    ids = [world.submit() for _ in range(3)]
    estimates.look_once()
    assert set(estimates._known.jobs) == set(ids[:2])


def test_one_look_serves_everybody_for_a_while(
    world: World, estimates: EstimateService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt(world, load=1.0, speed=2.0)
    looks: list[float] = []
    look: Callable[[], None] = estimates.look_once

    def counted() -> None:
        looks.append(clock.seconds)
        look()

    monkeypatch.setattr(estimates, "look_once", counted)
    job = world.submit()
    for _ in range(3):
        assert set(told(estimates).jobs) == {job}
    clock.seconds = module.FRESH_SECONDS + 0.1
    told(estimates)
    assert len(looks) == 2


def test_a_look_that_fails_leaves_what_was_known(
    world: World, estimates: EstimateService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt(world, load=1.0, speed=2.0)
    job = world.submit()
    assert set(told(estimates).jobs) == {job}
    monkeypatch.setattr(estimates, "look_once", lambda: 1 // 0)
    clock.seconds = 60.0
    assert set(told(estimates).jobs) == {job}


def noted(world: World) -> list[tuple[UUID, bool]]:
    """What jobs were told, and whether they began."""
    with world.sessions.begin() as session:
        rows = session.execute(text("SELECT job_id, began_at IS NOT NULL FROM foretold ORDER BY told_at"))
        return [(job, began) for job, began in rows]


def fared(world: World, count: int, found: float) -> None:
    """So many jobs were told 30 to 60 seconds, and waited for `found`."""
    statement = """INSERT INTO foretold (job_id, step, told_at, low, start, high, began_at)
        SELECT gen_random_uuid(), 2, at, 30, 40, 60, at + make_interval(secs => :found)
        FROM (SELECT now() - interval '1 day' * number AS at FROM generate_series(1, :count) number) told"""
    with world.sessions.begin() as session:
        session.execute(text(statement), {"count": count, "found": found})


def test_it_is_noted_once_what_jobs_were_told_and_when_they_began(
    world: World, estimates: EstimateService
) -> None:
    learnt(world, load=40.0, speed=2.0)
    job, other = waiting(world, 6), waiting(world, 6)
    for _ in range(2):
        estimates.look_once()
    assert set(noted(world)) == {(job, False), (other, False)}
    assert world.scheduling.settle_once() == 0
    replica = world.replica("GPU-0")
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, Room(1.0, 1))
    assert [world.scheduling.settle_once() for _ in range(2)] == [1, 0]
    assert dict(noted(world)) == {job: True, other: False}


def test_a_job_that_never_begins_is_forgotten(world: World, estimates: EstimateService) -> None:
    learnt(world, load=40.0, speed=2.0)
    cancelled, deleted, kept = (world.submit() for _ in range(3))
    estimates.look_once()
    for job in (cancelled, deleted):
        world.jobs.cancel(job)
    world.jobs.delete(deleted)
    world.scheduling.settle_once()
    assert noted(world) == [(kept, False)]


def test_ranges_are_as_wide_as_starts_were_wrong(world: World, estimates: EstimateService) -> None:
    learnt(world, load=40.0, speed=2.0)
    fared(world, 30, found=500.0)
    job = waiting(world, 6)
    estimates.look_once()
    found = estimates._known.jobs[job]
    assert found.start == pytest.approx(40, abs=2)
    assert (found.start_high or 0.0) > 400
    with world.sessions.begin() as session:
        raw = session.execute(
            text("SELECT high FROM foretold WHERE job_id = :job"), {"job": job}
        ).scalar_one()
    assert raw < 100, "else ranges would grow with each other"


def test_who_waits_for_longer_than_was_told_is_learnt_from(world: World, estimates: EstimateService) -> None:
    learnt(world, load=40.0, speed=2.0)
    fared(world, 30, found=500.0)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE foretold SET began_at = NULL, told_at = now() - interval '500 seconds'"))
    job = waiting(world, 6)
    estimates.look_once()
    assert (estimates._known.jobs[job].start_high or 0.0) > 400


def test_what_was_told_is_kept_of_the_latest_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foretold, "MOST_KEPT", 10)
    fared(world, 30, found=50.0)
    world.scheduling.settle_once()
    assert len(noted(world)) == 10


def test_a_job_is_told_when_it_would_begin_as_it_is_when_it_is_there(
    world: World, estimates: EstimateService, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt(world, load=40.0, speed=2.0)
    waiting(world, 6)
    made = submission()
    line = InLine(uuid7(), DEFAULT_TEAM, "alice", made.spec.priority, utc_now(), devices=made.engine.gpus)
    would = estimates.would(Outstanding(line, made.engine, made.plan, prepared=False))
    job, _ = world.jobs.submit(made, "alice")
    estimates.look_once()
    found = estimates._known.of(job.id, utc_now())
    assert found
    assert would
    assert would.start == pytest.approx(found.start, abs=3)
    assert would.start_high == pytest.approx(found.start_high, rel=0.1)
    monkeypatch.setattr(module, "MOST_BESIDE", 2)
    assert estimates.would(Outstanding(line, made.engine, made.plan, prepared=False)) is None
