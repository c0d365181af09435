"""What the scheduler learns of engines, and remembers of jobs."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from app.db.capacity import CapacityRepository
from app.db.paces import LATEST, PaceRepository
from app.db.session import Sessions
from app.domain.demands import Learnt
from app.domain.job import Phase
from app.domain.placement import Demand, Policy
from app.services.demands import DemandReader
from tests.world import ENGINE, World


def loaded(sessions: Sessions, replica: UUID, seconds: float, cost: float, busy: float) -> None:
    """It took so long to load, and answered so much in so many seconds; it ended."""
    statement = (
        "UPDATE replicas SET status = 'released', ended_at = now(), claimed_at = now() - interval '1 hour',"
        " serving_at = now() - interval '1 hour' + make_interval(secs => :load), cost_done = :cost,"
        " busy_seconds = :busy WHERE id = :id"
    )
    with sessions.begin() as session:
        session.execute(text(statement), {"id": replica, "load": seconds, "cost": cost, "busy": busy})
        session.execute(text("UPDATE devices SET state = 'free', replica_id = NULL"))


def learnt(sessions: Sessions) -> dict[str, Learnt]:
    with sessions.begin() as session:
        return PaceRepository(session).learnt([ENGINE.key, "another"])


def test_an_engine_takes_what_it_took_the_last_times(world: World) -> None:
    (device,) = world.devices(1)
    for seconds, cost, busy in ((3.0, 100.0, 10.0), (5.0, 300.0, 10.0), (100.0, 0.0, 0.0)):
        loaded(world.sessions, world.placed(device), seconds, cost, busy)
    assert learnt(world.sessions) == {ENGINE.key: Learnt(5.0, 20.0)}


def test_what_is_long_ago_is_not_asked(world: World) -> None:
    (device,) = world.devices(1)
    for number in range(LATEST + 5):
        loaded(world.sessions, world.placed(device), 50.0 if number < 5 else 3.0, 10.0, 1.0)
    assert learnt(world.sessions)[ENGINE.key].load_seconds == 3.0


def test_an_engine_that_never_loaded_teaches_nothing(world: World) -> None:
    world.placed(*world.devices(1))
    assert learnt(world.sessions) == {}


def asked(world: World, reader: DemandReader) -> list[Demand]:
    with world.sessions.begin() as session:
        return reader.read(session, Policy())


def test_the_scheduler_reckons_with_what_was_learnt(world: World) -> None:
    (device,) = world.devices(1)
    loaded(world.sessions, world.placed(device), 7.0, 100.0, 50.0)
    lease = world.running(2)
    reader = DemandReader()
    (found,) = asked(world, reader)
    assert (found.load_seconds, found.speed) == (7.0, 2.0)
    assert reader.expected(lease.id, None) == 10.0
    assert reader.expected(lease.id, 70.0) == 10.0, "what it tells counts the time of others"


def test_a_job_is_read_again_when_its_row_has_changed(world: World) -> None:
    """Its priority, and what its chunks cost, are read each time."""
    world.running(2)
    reader = DemandReader()
    (before,) = asked(world, reader)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET plan = jsonb_set(plan, '{group}', '\"b\"')"))
    assert asked(world, reader)[0].group is None
    with world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET version = version + 1, priority = 7"))
        session.execute(text("DELETE FROM chunks WHERE position = 1"))
    (after,) = asked(world, reader)
    assert (after.group, after.priority, after.waiting_cost) == ("b", 7, before.waiting_cost / 2)


def test_a_job_that_is_gone_between_two_looks_is_left_out(world: World) -> None:
    lease, reader = world.running(1), DemandReader()
    assert len(asked(world, reader)) == 1
    world.coordination.enter(lease, Phase.SCORING, "scoring")
    with world.sessions.begin() as session:
        session.execute(text("DELETE FROM chunks"))
    assert asked(world, reader) == []
    assert reader.expected(lease.id, None) is None
    assert reader.expected(lease.id, 7.0) == 7.0


def test_what_was_read_stands_for_what_is_read_anew(world: World) -> None:
    for _ in range(3):
        world.running(2)
    with world.sessions.begin() as session:
        capacity = CapacityRepository(session)
        first = capacity.work()
        assert capacity.work({item.job_id: item for item in first}) == first
