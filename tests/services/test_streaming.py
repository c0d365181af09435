"""What replicas whose engines stream are given, and what is taken from their hands again."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.chunk import Room
from app.domain.lease import Lease
from app.errors import LeaseLostError
from app.services.jobs import JobService
from app.services.serving import Answer, Claimed
from tests.world import ENGINE, World

ANSWER = Answer([b"a", b"b"], 0.1, 1)


def claim(world: World, replica: Lease, room: Room) -> list[Claimed]:
    return list(world.serving.next(replica, ENGINE.key, room).chunks)


@pytest.fixture
def replicas(world: World) -> list[Lease]:
    """Two that serve."""
    leases = [world.replica(device) for device in world.devices(2)]
    for lease in leases:
        world.serving.loaded(lease, {})
    return leases


def test_an_engine_is_given_what_its_window_misses(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=20)
    given = claim(world, replicas[0], Room(float("inf"), 64, requests=5))
    assert len(given) == 3, "of two requests each: the last one may stand over"


def test_replicas_share_what_is_left(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=6)
    first, second = replicas
    half = claim(world, first, Room(float("inf"), 64, requests=64))
    assert len(half) == 3
    more = Room(float("inf"), 64, requests=58, held_cost=30.0, empty=False, starved=False)
    assert claim(world, first, more) == [], "the rest is the other's"
    assert len(claim(world, second, Room(float("inf"), 64, requests=64))) == 3


def test_one_who_has_nothing_is_given_a_chunk_however_small_its_share(
    world: World, replicas: list[Lease]
) -> None:
    world.running(chunks=1)
    assert len(claim(world, replicas[0], Room(float("inf"), 64, requests=64))) == 1


def test_a_replica_that_is_to_leave_has_no_share(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=4)
    with world.sessions.begin() as session:
        session.execute(
            text("UPDATE replicas SET release_requested_at = now() WHERE id = :id"), {"id": replicas[1].id}
        )
    assert len(claim(world, replicas[0], Room(float("inf"), 64, requests=64))) == 4


def test_what_other_groups_must_answer_is_nobodys_share_here(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=2)
    world.running(chunks=20, group="elsewhere")
    assert len(claim(world, replicas[0], Room(float("inf"), 64, requests=64))) == 1


STOPS: list[Callable[[JobService, UUID], object]] = [JobService.cancel, JobService.pause]


@pytest.mark.parametrize("stop", STOPS, ids=["cancel", "pause"])
def test_chunks_of_a_job_that_stops_are_let_go(
    world: World, replicas: list[Lease], stop: Callable[[JobService, UUID], object]
) -> None:
    stops, goes_on = world.running(chunks=1), world.running(chunks=1)
    held = claim(world, replicas[0], Room(1e9, 64))
    in_hand = [item.chunk.id for item in held]
    assert world.serving.wanted(replicas[0], in_hand) == set(in_hand)
    stop(world.jobs, stops.id)
    (wanted,) = world.serving.wanted(replicas[0], in_hand)
    assert [item.chunk.job_id for item in held if item.chunk.id == wanted] == [goes_on.id]
    assert world.serving.wanted(replicas[0], [wanted]) == {wanted}
    with world.sessions.begin() as session:
        query = "SELECT status FROM chunks WHERE job_id = :job"
        assert session.scalars(text(query), {"job": stops.id}).all() == ["waiting"]


def test_chunks_of_a_late_job_are_let_go(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=1)
    (held,) = claim(world, replicas[0], Room(1e9, 64))
    with world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET deadline_at = now() - interval '1 s'"))
    assert world.serving.wanted(replicas[0], [held.chunk.id]) == frozenset()


def test_a_job_that_lost_its_coordinator_loses_nothing_that_is_worked_on(
    world: World, replicas: list[Lease]
) -> None:
    job = world.running(chunks=1)
    (held,) = claim(world, replicas[0], Room(1e9, 64))
    world.expire(job)
    world.scheduling.expire_once()
    assert world.serving.wanted(replicas[0], [held.chunk.id]) == {held.chunk.id}


def test_a_chunk_that_was_taken_away_is_not_wanted_and_nobody_elses_is_touched(
    world: World, replicas: list[Lease]
) -> None:
    world.running(chunks=2)
    first, second = replicas
    (lost,) = claim(world, first, Room(0.0, 1))
    world.serving.keep_only(first, [])
    (others,) = claim(world, second, Room(0.0, 1))
    assert others.chunk.id == lost.chunk.id
    assert world.serving.wanted(first, [lost.chunk.id]) == frozenset()
    world.serving.answer(second, others, ANSWER)


def test_one_whose_lease_is_lost_is_told_so(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=1)
    (held,) = claim(world, replicas[0], Room(1e9, 64))
    world.expire(replicas[0])
    world.scheduling.expire_once()
    with pytest.raises(LeaseLostError):
        world.serving.wanted(replicas[0], [held.chunk.id])
