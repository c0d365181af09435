"""Whose chunks a replica gets, of the many jobs that need its engine."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import event

from app.db import claims
from app.db.claims import ClaimRepository
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


def pages(world: World, replica: Lease) -> int:
    """How often the line is read for one claim that finds nothing."""
    seen: list[str] = []
    with world.sessions.begin() as session:
        event.listen(session.connection(), "before_cursor_execute", lambda *told: seen.append(told[2]))
        assert not ClaimRepository(session).claim(replica, ENGINE.key, ONE)
    return sum("OFFSET" in statement for statement in seen)


def test_many_jobs_that_have_nothing_to_give_are_looked_at_in_few_steps(
    world: World, replica: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LOOKED_AT", 1)
    for _ in range(8):
        world.running(chunks=0)
    assert pages(world, replica) == 3
    monkeypatch.setattr(claims, "MOST_LOOKED_AT", 2)
    assert pages(world, replica) == 5


def test_jobs_that_are_answered_elsewhere_are_not_looked_at(
    world: World, replica: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LOOKED_AT", 1)
    world.devices(1, "b")
    for _ in range(3):
        world.running(chunks=1, group="b")
    assert pages(world, replica) == 1


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
