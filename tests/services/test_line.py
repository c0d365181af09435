"""Whose turn it is, as the scheduler writes it: for coordinators, chunks and engines, and on the queue page."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db.line import LineRepository
from app.db.usage import UsageRepository
from app.domain.chunk import Room
from app.domain.ids import uuid7
from app.domain.line import MOST_TURNS, Sharing
from app.services.queue import QueueService
from tests.world import ENGINE, TTL, World


def queue(world: World) -> list[UUID]:
    """The waiting jobs, in the order that is told."""
    return [item.job.id for item in QueueService(sessions=world.sessions, ttl=TTL).page(100).waiting]


def turns(world: World) -> list[int | None]:
    with world.sessions.begin() as session:
        return list(session.scalars(text("SELECT turn FROM jobs ORDER BY created_at")))


def spend(world: World, owner: str, seconds: float) -> None:
    """Engines worked so long for jobs of this owner."""
    with world.sessions.begin() as session:
        statement = """INSERT INTO usage VALUES
            (date_trunc('hour', now()), 'default', :owner, :model, :seconds, 'useful')"""
        session.execute(text(statement), {"owner": owner, "model": str(uuid7()), "seconds": seconds})


def test_a_flood_of_one_owner_does_not_hold_up_the_next_one(world: World) -> None:
    flood = [world.submit() for _ in range(5)]
    late = world.submit(owner="bob")
    assert queue(world) == [*flood, late], "before the scheduler has seen them"
    world.scheduling.line_up_once()
    assert queue(world) == [flood[0], late, *flood[1:]]
    claimed = [world.coordination.claim(flood[4], "coordinator") for _ in range(2)]
    assert [found and found[0].id for found in claimed] == [flood[0], late]


def test_who_used_more_goes_behind_and_priority_is_above(world: World) -> None:
    spend(world, "alice", 100)
    ours, theirs, urgent = world.submit(), world.submit(owner="bob"), world.submit(priority=60)
    world.scheduling.line_up_once()
    assert queue(world) == [urgent, theirs, ours]


def test_chunks_of_one_engine_go_by_the_same_line(world: World) -> None:
    (device,) = world.devices(1)
    replica = world.replica(device)
    spend(world, "alice", 100)
    ours, theirs = world.running(chunks=2), world.running(chunks=1, owner="bob")
    world.scheduling.line_up_once()
    chunks = world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks
    assert [item.chunk.job_id for item in chunks] == [theirs.id, ours.id, ours.id]


def test_engines_are_placed_in_the_same_line(world: World) -> None:
    spend(world, "alice", 100)
    world.running(chunks=1, model="/models/ours")
    world.running(chunks=1, owner="bob", model="/models/theirs")
    world.devices(1)
    world.scheduling.line_up_once()
    world.scheduling.place_once()
    with world.sessions.begin() as session:
        assert list(session.scalars(text("SELECT engine->>'model' FROM replicas"))) == ["/models/theirs"]


@pytest.mark.parametrize("told", ["{}", '{"gpus": "all"}', '{"gpus": null}'])
def test_an_engine_that_cannot_be_read_keeps_nobody_from_a_turn(world: World, told: str) -> None:
    """Another version wrote it."""
    world.submit()
    with world.sessions.begin() as session:
        session.execute(
            text("UPDATE jobs SET engine = (engine - 'gpus') || CAST(:told AS jsonb)"), {"told": told}
        )
    world.submit()
    world.submit(owner="bob")
    world.scheduling.line_up_once()
    assert turns(world) == [1, 3, 2]


def test_turns_are_written_only_where_the_order_changes(world: World) -> None:
    for owner in ("alice", "alice", "bob"):
        world.submit(owner=owner)
    world.scheduling.line_up_once()
    assert turns(world) == [1, 3, 2]
    world.submit(owner="bob")
    world.scheduling.line_up_once()
    assert turns(world) == [1, 3, 2, None], "it is last anyway"
    world.submit(owner="carol")
    world.scheduling.line_up_once()
    assert turns(world) == [1, 4, 2, 5, 3]
    assert MOST_TURNS > 5


def test_what_was_used_long_ago_counts_less_by_owner(world: World) -> None:
    spend(world, "alice", 100)
    spend(world, "alice", 20)
    with world.sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO usage SELECT hour - interval '1 day', team, 'bob', model, 32, 'failed' FROM usage"
            )
        )
    with world.sessions.begin() as session:
        used = {
            owner: seconds
            for (_, owner), seconds in UsageRepository(session).lately(Sharing().half_life).items()
        }
    assert 110 < used["alice"] <= 120
    assert 0.9 < 2 * used["bob"] / 64 <= 1


def test_an_estimate_of_an_earlier_attempt_counts_for_nothing(world: World) -> None:
    for owner in ("alice", "alice", "bob"):
        world.submit(owner=owner)
    with world.sessions.begin() as session:
        session.execute(text("""UPDATE jobs SET rates = '{"eta_seconds": 0.0}'"""))
    world.scheduling.line_up_once()
    assert turns(world) == [1, 3, 2]


def test_who_asks_while_the_line_is_written_waits_for_it(world: World) -> None:
    """Rows that are being written are passed over: the next job would be one of those behind them."""
    first = world.submit()
    with world.sessions.begin() as session:
        LineRepository(session).write([first])
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(world.coordination.claim, first, "coordinator")
            with pytest.raises(TimeoutError):
                asked.result(timeout=0.3)
            session.commit()
            claimed = asked.result(timeout=20)
    assert claimed
    assert claimed[0].id == first


def test_a_wide_job_counts_for_each_of_its_devices(world: World) -> None:
    wide, ours = world.submit(), world.submit()
    with world.sessions.begin() as session:
        wider = """UPDATE jobs SET engine = engine || '{"gpus": 4}' WHERE id = :id"""
        session.execute(text(wider), {"id": wide})
    theirs = [world.submit(owner="bob") for _ in range(4)]
    world.scheduling.line_up_once()
    assert queue(world) == [wide, *theirs, ours]
