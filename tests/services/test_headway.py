"""What a replica tells of chunks that it has not answered yet: who may tell it, and what becomes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeAlias
from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.chunk import Chunk, Room
from app.domain.failure import Failure, FailureCode
from app.domain.headway import Headway
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.services.coordination import Progress
from app.services.serving import Answer, Claimed
from tests.world import ENGINE, FINGERPRINT, World

HALF = Headway(1, 5.0)
ANSWER = Answer([b"a", b"b"], 0.1, 1)
DIED = Failure(FailureCode.ENGINE_DIED, "the engine died of signal 9")


def chunks(world: World, replica: Lease) -> Sequence[Claimed]:
    return world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks


def halfway(world: World, replica: Lease) -> Sequence[Claimed]:
    """The replica has claimed chunks, and answered half of each."""
    claimed = chunks(world, replica)
    told = {each.chunk.id: HALF for each in claimed}
    assert world.serving.advance(replica, told) == len(claimed)
    return claimed


def seen(world: World, job: Lease, counted_on: Sequence[UUID] = ()) -> tuple[dict[UUID, Headway], int]:
    engines = world.coordination.engines(world.jobs.view(job.id).job, counted_on)
    return dict(engines.headway), engines.uncollected


def test_a_job_sees_how_far_each_replica_is_with_its_own_chunks(world: World) -> None:
    job, other = world.running(chunks=2), world.running(chunks=1)
    (replica,) = map(world.replica, world.devices(1))
    assert len(halfway(world, replica)) == 3
    assert seen(world, job) == ({replica.id: Headway(2, 10.0)}, 0)
    assert seen(world, other) == ({replica.id: HALF}, 0)


def test_a_chunk_is_seen_in_one_place_from_its_engine_to_its_coordinator(world: World) -> None:
    job = world.running(chunks=1)
    (replica,) = map(world.replica, world.devices(1))
    (claimed,) = halfway(world, replica)
    world.serving.answer(replica, claimed, ANSWER)
    assert seen(world, job) == ({}, 2)
    assert len(world.coordination.collect(job, FINGERPRINT).responses) == 2
    assert seen(world, job) == ({}, 0)


def test_a_lost_lease_tells_nothing(world: World) -> None:
    job = world.running(chunks=1)
    (replica,) = map(world.replica, world.devices(1))
    (claimed,) = halfway(world, replica)
    world.expire(replica)
    assert world.serving.advance(replica, {claimed.chunk.id: Headway(2, 10.0)}) == 0
    assert seen(world, job) == ({replica.id: HALF}, 0)


def test_only_the_holder_of_a_chunk_tells_of_it(world: World) -> None:
    job = world.running(chunks=1)
    one, other = map(world.replica, world.devices(2))
    (claimed,) = chunks(world, one)
    assert world.serving.advance(other, {claimed.chunk.id: HALF}) == 0
    assert world.serving.advance(one, {claimed.chunk.id: HALF}) == 1
    assert world.serving.advance(one, {claimed.chunk.id: HALF}) == 1
    world.serving.answer(one, claimed, ANSWER)
    assert world.serving.advance(one, {claimed.chunk.id: HALF}) == 0
    assert seen(world, job) == ({}, 2)


def test_telling_waits_for_nobody(world: World) -> None:
    world.running(chunks=2)
    (replica,) = map(world.replica, world.devices(1))
    first, second = chunks(world, replica)
    with world.sessions.begin() as session:
        session.execute(text("SELECT 1 FROM chunks WHERE id = :id FOR UPDATE"), {"id": first.chunk.id})
        assert world.serving.advance(replica, {each.chunk.id: HALF for each in (first, second)}) == 1


Ending: TypeAlias = Callable[[World, Lease, Chunk], object]


def lapse(world: World, replica: Lease) -> None:
    world.expire(replica)
    world.scheduling.expire_once()


ENDINGS: dict[str, Ending] = {
    "released": lambda world, replica, _: world.serving.end(replica, ReplicaStatus.RELEASED),
    "failed": lambda world, replica, _: world.serving.end(replica, ReplicaStatus.FAILED, DIED),
    "lost": lambda world, replica, _: lapse(world, replica),
    "not kept": lambda world, replica, _: world.serving.keep_only(replica, []),
    "put back": lambda world, replica, chunk: world.fail(replica, chunk, DIED),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_a_chunk_that_waits_again_begins_anew(world: World, end: Ending) -> None:
    job = world.running(chunks=1)
    one, other = map(world.replica, world.devices(2))
    (claimed,) = halfway(world, one)
    end(world, one, claimed.chunk)
    assert chunks(world, other)
    assert seen(world, job) == ({other.id: Headway()}, 0)


@pytest.mark.parametrize("way", ["failed", "lost"])
def test_a_replica_that_was_counted_on_and_died_is_named(world: World, way: str) -> None:
    job = world.running(chunks=1)
    (replica,) = map(world.replica, world.devices(1))
    (claimed,) = halfway(world, replica)
    ENDINGS[way](world, replica, claimed.chunk)
    engines = world.coordination.engines(world.jobs.view(job.id).job, [replica.id])
    assert [(dead.id, dead.status) for dead in engines.dead] == [(replica.id, way)]


@pytest.mark.parametrize("way", ["released", "not kept", "put back"])
def test_a_replica_that_lives_or_was_released_is_not_dead(world: World, way: str) -> None:
    job = world.running(chunks=1)
    (replica,) = map(world.replica, world.devices(1))
    (claimed,) = halfway(world, replica)
    ENDINGS[way](world, replica, claimed.chunk)
    assert not world.coordination.engines(world.jobs.view(job.id).job, [replica.id]).dead


def test_progress_names_the_dead_before_it_falls(world: World) -> None:
    job = world.running(chunks=1)
    (replica,) = map(world.replica, world.devices(1))
    halfway(world, replica)
    world.serving.end(replica, ReplicaStatus.FAILED, DIED)
    dead = world.coordination.engines(world.jobs.view(job.id).job, [replica.id]).dead
    world.coordination.progress(job, Progress(0, {}, {}, moved=False, dead=dead), {"done": 0}, 0.0)
    named, fell = world.jobs.events(job.id, 0)[-2:]
    assert (named.type, fell.type) == ("job.retrying", "job.progress")
    assert (named.data["replica"], named.data["code"]) == (str(replica.id), "engine_died")
    assert "the engine died of signal 9" in named.data["reason"]


def test_a_death_on_another_jobs_request_is_told_without_its_words(world: World) -> None:
    job, other = world.running(chunks=1), world.running(chunks=1)
    (replica,) = map(world.replica, world.devices(1))
    halfway(world, replica)
    world.serving.end(replica, ReplicaStatus.FAILED, dataclasses.replace(DIED, job_id=other.id))
    (dead,) = world.coordination.engines(world.jobs.view(job.id).job, [replica.id]).dead
    assert "signal 9" not in str(dead.obituary())


def test_a_job_is_stalled_when_engines_give_nothing(world: World) -> None:
    job = world.running(chunks=1)
    at = [world.jobs.view(job.id).job.progress_at]
    for moved in (False, True):
        world.coordination.progress(job, Progress(0, {}, {}, moved=moved), {}, 0.0)
        at.append(world.jobs.view(job.id).job.progress_at)
    assert at[0] == at[1] != at[2]


def test_what_is_done_stays_so_under_another_coordinator_and_is_none_for_a_retry(world: World) -> None:
    job = world.running(chunks=2)
    world.coordination.progress(job, Progress(3, {"toy": 3}, {}), {}, 0.0)
    world.expire(job)
    world.scheduling.expire_once()
    claimed = world.coordination.claim(job.id, "another")
    assert claimed
    assert claimed[1].requests_done == 3
    world.coordination.prepared(claimed[0], FINGERPRINT, [("toy", 2)], {})
    assert world.jobs.view(job.id).job.requests_done == 2, "a task was given up: no more than there are"
    world.coordination.fail(claimed[0], DIED)
    assert world.jobs.view(job.id).job.requests_done == 2
    assert world.jobs.retry(job.id).requests_done == 0
