"""Whose chunks a replica gets, of the many jobs that need its engine."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.db import claims
from app.domain.chunk import Room
from app.domain.failure import Failure, FailureCode
from app.domain.lease import Lease
from tests.world import ENGINE, World

ONE = Room(cost=1e6, chunks=1)
STREAM = Room(cost=float("inf"), chunks=64, requests=100)


def given(world: World, replica: Lease, room: Room = ONE) -> list[UUID]:
    """The jobs of the chunks that it gets."""
    return [each.chunk.job_id for each in world.serving.next(replica, ENGINE.key, room).chunks]


@pytest.fixture
def replica(world: World) -> Lease:
    (device,) = world.devices(1)
    lease = world.replica(device)
    world.serving.loaded(lease, {})
    return lease


def test_a_job_is_found_behind_many_that_have_nothing_to_give(
    world: World, replica: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LOOKED_AT", 2)
    for _ in range(5):
        world.running(chunks=0)
    behind = world.running(chunks=1)
    world.scheduling.line_up_once()
    assert given(world, replica) == [behind.id]


def test_a_job_that_failed_just_now_gives_way_to_its_equals_alone(world: World, replica: Lease) -> None:
    failed, equal = world.running(chunks=2), world.running(chunks=1)
    (first,) = world.serving.next(replica, ENGINE.key, ONE).chunks
    assert first.chunk.job_id == failed.id
    world.fail(replica, first.chunk, Failure(FailureCode.INTERNAL, "out of luck"))
    lower = world.running(chunks=1, priority=1)
    assert [given(world, replica) for _ in range(4)] == [[equal.id], [failed.id], [failed.id], [lower.id]]


def test_of_what_is_left_no_more_is_summed_up_than_can_be_held(
    world: World, replica: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.running(chunks=8)
    monkeypatch.setattr(claims, "MOST_HELD", 4)
    assert given(world, replica, STREAM) == [job.id] * 4
