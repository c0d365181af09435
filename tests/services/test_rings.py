"""Rings: what nobody hears is rung again, and given up after the last ring was not heard either."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from sqlalchemy import text

from app.db.replicas import MAX_SENDS
from tests.services.test_leases import someone_waits
from tests.waiting import until
from tests.world import World


def ring_all(world: World) -> UUID:
    """A placed replica for which the last ring has just gone out."""
    world.devices(1)
    replica_id = world.placed("GPU-0")
    for _ in range(MAX_SENDS):
        silence(world)
        assert world.scheduling.announce_once() == 1
    return replica_id


def silence(world: World) -> None:
    """So much time goes by that it would be rung again."""
    with world.sessions.begin() as session:
        session.execute(text("UPDATE replicas SET sent_at = sent_at - interval '16 s'"))


def test_a_placed_replica_can_be_claimed_after_its_last_ring(world: World) -> None:
    replica_id = ring_all(world)
    assert world.scheduling.expire_once() == []
    assert world.serving.claim(replica_id, "worker")


def test_a_replica_that_no_ring_reached_is_lost(world: World) -> None:
    replica_id = ring_all(world)
    silence(world)
    assert world.scheduling.announce_once() == 0
    assert world.scheduling.expire_once() == [replica_id]
    assert world.serving.claim(replica_id, "worker") is None
    assert world.bell.replicas == [replica_id] * MAX_SENDS


def test_whatever_job_is_rung_for_the_first_in_line_is_taken(world: World) -> None:
    early, urgent, late = world.submit(), world.submit(priority=90), world.submit()
    claims = [world.coordination.claim(late, "coordinator") for _ in range(4)]
    assert [claim and claim[0].id for claim in claims] == [urgent, early, late, None]


def test_a_job_that_is_being_written_is_waited_for_where_it_was_rung_for(world: World) -> None:
    job_id = world.submit()
    with ThreadPoolExecutor(1) as pool, world.sessions.begin() as announcing:
        announcing.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
        claiming = pool.submit(world.coordination.claim, job_id, "coordinator")
        until(lambda: someone_waits(world.sessions))
        announcing.commit()
        assert claiming.result()
