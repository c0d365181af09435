"""Rings: what nobody hears is rung again, and given up after the last ring was not heard either."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from app.db.replicas import MAX_SENDS
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
