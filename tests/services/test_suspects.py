"""Chunks that an engine or a worker was lost with: each is sent alone until it is answered or found guilty."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.domain.chunk import MAX_INTERRUPTIONS, Chunk, Room
from app.domain.failure import Failure, FailureCode
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.services.serving import Answer, Claimed
from tests.world import ENGINE, World

DIED = Failure(FailureCode.ENGINE_DIED, "the process was ended by SIGSEGV")
ANSWER = Answer([b"a", b"b"], 0.1, 1)
IDLE = Room(1e9, 64)
BUSY = Room(1e9, 64, empty=False)


def claim(world: World, replica: Lease, room: Room = IDLE) -> list[Claimed]:
    return list(world.serving.next(replica, ENGINE.key, room).chunks)


def chunks(claimed: list[Claimed]) -> list[Chunk]:
    return [item.chunk for item in claimed]


def positions(claimed: list[Claimed]) -> list[int]:
    return [item.chunk.position for item in claimed]


def die(world: World, replica: Lease, *suspects: Claimed) -> None:
    world.serving.end(replica, ReplicaStatus.FAILED, DIED, [item.chunk.id for item in suspects])


@pytest.fixture
def replicas(world: World) -> list[Lease]:
    return [world.replica(device) for device in world.devices(3)]


def test_what_an_engine_died_with_is_given_alone_to_whoever_has_nothing_in_hand(
    world: World, replicas: list[Lease]
) -> None:
    world.running(chunks=5)
    first, second, third = replicas
    in_work = claim(world, first)[1:4]
    die(world, first, *in_work)
    assert positions(claim(world, second, BUSY)) == [0, 4], "the others wait again, and are nobody's suspects"
    (one,) = claim(world, third)
    assert (one.chunk.position, one.chunk.suspect) == (1, True)
    assert claim(world, third, BUSY) == [], "nothing else beside it, and no suspect to one at work"
    world.serving.answer(third, one, ANSWER)
    assert positions(claim(world, third)) == [2]


def test_suspects_come_before_the_rest_of_their_job(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=3)
    first, second, _ = replicas
    *_, last = claim(world, first)
    die(world, first, last)
    assert positions(claim(world, second)) == [2]


def test_a_suspect_that_waits_for_long_is_made_room_for(world: World, replicas: list[Lease]) -> None:
    world.running(chunks=2)
    first, second, third = replicas
    die(world, first, *claim(world, first)[:1])
    with world.sessions.begin() as session:
        session.execute(text("UPDATE chunks SET ended_at = ended_at - interval '61 s' WHERE suspect"))
    assert claim(world, second, BUSY) == [], "it runs out of other work"
    assert positions(claim(world, second)) == [0]
    assert positions(claim(world, third, BUSY)) == [1], "somebody has it"


def test_a_suspect_of_one_job_does_not_come_with_another_jobs_chunks(
    world: World, replicas: list[Lease]
) -> None:
    urgent, other = world.running(chunks=1, priority=90), world.running(chunks=1)
    first, second, _ = replicas
    die(world, first, claim(world, first)[1])
    (claimed,) = chunks(claim(world, second))
    assert claimed.job_id == urgent.id, (
        "first come first served, and the other beside it only if it were none"
    )
    world.serving.keep_only(second, [])
    world.jobs.cancel(urgent.id)
    (claimed,) = chunks(claim(world, second))
    assert (claimed.job_id, claimed.suspect) == (other.id, True)


def test_chunks_that_were_answered_or_taken_away_meanwhile_are_no_suspects(
    world: World, replicas: list[Lease]
) -> None:
    world.running(chunks=2)
    first, second, _ = replicas
    held = claim(world, first)
    world.serving.keep_only(first, [held[0].chunk.id])
    world.serving.answer(first, held[0], ANSWER)
    (other,) = claim(world, second)
    die(world, first, *held)
    with world.sessions.begin() as session:
        assert session.scalar(text("SELECT count(*) FROM chunks WHERE suspect")) == 0
    world.serving.answer(second, other, ANSWER)


def lose(world: World, replica: Lease, device: str) -> Lease:
    """Its worker is lost, and another replica is on its device."""
    world.expire(replica)
    world.scheduling.expire_once()
    world.mark(device)
    return world.replica(device)


def test_a_lost_worker_is_held_against_each_chunk_that_it_had(world: World) -> None:
    world.running(chunks=3)
    (device,) = world.devices(1)
    replica = world.replica(device)
    assert len(claim(world, replica)) == 3
    replica = lose(world, replica, device)
    for losses in range(MAX_INTERRUPTIONS):
        (alone,) = chunks(claim(world, replica))
        assert (alone.position, alone.suspect, alone.interruptions) == (0, True, losses)
        assert not alone.outlived_too_many
        replica = lose(world, replica, device)
    (alone,) = chunks(claim(world, replica))
    assert alone.outlived_too_many


def test_a_chunk_that_was_all_its_lost_worker_had_is_interrupted_and_no_suspect(world: World) -> None:
    world.running(chunks=1)
    (device,) = world.devices(1)
    replica = world.replica(device)
    assert len(claim(world, replica)) == 1
    (again,) = chunks(claim(world, lose(world, replica, device)))
    assert (again.interruptions, again.suspect) == (1, False)
