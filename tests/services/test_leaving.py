"""A gpu worker that ends takes its group out of the scheduler's hands before its devices come free."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from app.db.capacity import CapacityRepository
from app.db.groups import NOBODY
from app.domain.ids import uuid7
from app.domain.replica import ReplicaStatus
from app.errors import LeaseLostError
from tests.world import World


def register(world: World) -> UUID:
    return world.groups.register(name="a", host="node1", kind="gpu", backends=["hf"], version="0", reports=[])


def alive(world: World) -> bool:
    with world.sessions.begin() as session:
        [group] = CapacityRepository(session).groups(timedelta(seconds=60))
    return group.alive


def test_a_group_that_was_left_gets_nothing_new(world: World) -> None:
    token = register(world)
    assert alive(world)
    left = world.groups.leave("a", token)
    assert not alive(world)
    world.groups.beat("a", left, ["hf"], [])
    assert not alive(world), "its last heartbeats give devices back only"
    assert world.groups.leave("a", token) == NOBODY, "safe to repeat"


def test_what_was_placed_and_not_begun_goes_elsewhere(world: World) -> None:
    first, second = world.devices(2)
    begun, placed = world.replica(first), world.placed(second)
    token = register(world)
    world.groups.leave("a", token)
    assert world.serving.is_over(str(placed))
    assert not world.serving.is_over(str(begun.id))
    assert not world.serving.is_over("no id of ours")


def test_a_spare_is_over_with_the_replica_that_took_it(world: World) -> None:
    lease, spare = world.replica(*world.devices(1)), uuid7()
    assert not world.serving.is_over(str(spare)), "it waits"
    for _ in range(2):
        world.serving.take_spare(lease, spare)
        assert not world.serving.is_over(str(spare))
    world.serving.end(lease, ReplicaStatus.RELEASED)
    assert world.serving.is_over(str(spare))
    assert not world.serving.is_over(str(uuid7())), "another one waits"


def test_a_worker_that_takes_over_is_not_made_to_leave(world: World) -> None:
    old, new = register(world), register(world)
    left = world.groups.leave("a", old)
    assert alive(world)
    with pytest.raises(LeaseLostError):
        world.groups.beat("a", left, ["hf"], [])
    world.groups.beat("a", new, ["hf"], [])
