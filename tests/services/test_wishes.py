"""What a job wishes of engines holds where replicas are placed, where chunks are claimed, and in what is told."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text

from app.db.claims import ClaimRepository
from app.domain.chunk import Room
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.domain.whereabouts import where
from app.services import scheduling
from app.services.serving import Answer, Claimed
from tests.world import ENGINE, World, chunk


def claim(world: World, replica: Lease, most: int = 64) -> list[Claimed]:
    return list(world.serving.next(replica, ENGINE.key, Room(1e9, most)).chunks)


def claimed_jobs(world: World, replica: Lease, most: int = 64) -> list[UUID]:
    return [item.chunk.job_id for item in claim(world, replica, most)]


def answer(world: World, replica: Lease, claimed: Claimed) -> None:
    world.serving.answer(replica, claimed, Answer([b"a"] * len(claimed.chunk.keys), 0.1, 1))


def placed_in(world: World) -> list[str]:
    with world.sessions.begin() as session:
        return list(session.scalars(text("SELECT group_name FROM replicas ORDER BY placed_at")))


def test_a_job_that_names_a_group_is_answered_there_only(world: World) -> None:
    (here,), (there,) = world.devices(1), world.devices(1, "b")
    in_a, in_b = world.replica(here), world.replica(there, "b")
    job = world.running(chunks=2, group="b")
    assert claim(world, in_a) == []
    assert claimed_jobs(world, in_b) == [job.id, job.id]


def test_two_jobs_of_one_engine_are_answered_in_two_groups_at_once(world: World) -> None:
    (here,), (there,) = world.devices(1), world.devices(1, "b")
    in_a, in_b = world.replica(here), world.replica(there, "b")
    first, second = world.running(chunks=2, group="b"), world.running(chunks=1, group="a")
    anywhere = world.running(chunks=1)
    assert claimed_jobs(world, in_a) == [second.id, anywhere.id]
    assert claimed_jobs(world, in_b) == [first.id, first.id]


def test_a_replica_is_started_in_the_group_that_is_asked_for(world: World) -> None:
    (here,) = world.devices(1)
    world.devices(2, "b")
    world.replica(here)
    world.running(chunks=2, group="b")
    assert world.scheduling.place_once() >= 1
    assert set(placed_in(world)) == {"a", "b"}


def test_a_turn_starts_a_bounded_number_and_the_next_one_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "MOST_STARTS", 2)
    world.devices(3)
    world.running(chunks=3, replicas=3)
    assert [world.scheduling.place_once() for _ in range(3)] == [2, 1, 0]


def test_a_job_whose_group_is_drained_waits_for_it(world: World) -> None:
    (here,), (there,) = world.devices(1), world.devices(1, "b")
    in_a, in_b = world.replica(here), world.replica(there, "b")
    job = world.running(chunks=2, group="b")
    world.groups.drain("b")
    world.scheduling.place_once()
    assert claim(world, in_b) == []
    assert claim(world, in_a) == []
    world.serving.end(in_b, ReplicaStatus.RELEASED)
    found = world.jobs.view(job.id).job
    assert where(world.coordination.engines(found), found)[1] == "waiting for group b, which is draining"
    assert placed_in(world) == ["a", "b"], "nothing is started for it elsewhere"


def test_a_job_hears_and_lists_only_of_replicas_that_may_answer_it(world: World) -> None:
    (here,), (there,) = world.devices(1), world.devices(1, "b")
    job, other = world.running(chunks=1, group="b"), world.running(chunks=1)
    in_a, in_b = world.replica(here), world.replica(there, "b")
    for replica in (in_a, in_b):
        world.serving.loaded(replica, {})
    told = {lease.id: [name for _, name in world.events(lease.id)] for lease in (job, other)}
    assert told[job.id].count("replica.started") == 1
    assert told[other.id].count("replica.started") == 2
    assert [replica.id for replica in world.jobs.view(job.id).replicas] == [in_b.id]
    engines = world.coordination.engines(world.jobs.view(job.id).job)
    assert [replica.id for replica in engines.replicas] == [in_b.id]


def test_a_job_is_answered_by_no_more_replicas_at_once_than_it_asks_for(world: World) -> None:
    one, two, three = (world.replica(device) for device in world.devices(3))
    narrow, wide = world.running(chunks=4, replicas=1), world.running(chunks=2, replicas=4)
    (first,) = claim(world, one, 1)
    assert first.chunk.job_id == narrow.id
    assert claimed_jobs(world, two, 1) == [wide.id], "the other job's wish is another"
    assert claimed_jobs(world, three, 1) == [wide.id]
    answer(world, one, first)
    assert claimed_jobs(world, two, 1) == [narrow.id], "nobody is at it"
    assert claim(world, one) == []


def test_a_job_that_every_replica_is_at_hides_no_other(world: World) -> None:
    one, two = (world.replica(device) for device in world.devices(2))
    narrow = [world.running(chunks=1, replicas=1) for _ in range(5)]
    assert [claimed_jobs(world, one, 1) for _ in narrow] == [[job.id] for job in narrow]
    for job in narrow:
        world.coordination.store_plan(job, [chunk(job.id, 1)], 0)
    last = world.running(chunks=1)
    assert claimed_jobs(world, two, 1) == [last.id]


def test_of_two_replicas_that_look_at_once_one_joins(world: World) -> None:
    (device,) = world.devices(1)
    replica, job = world.replica(device), world.running(chunks=1, replicas=1)
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:id AS text), 0))")
    with world.sessions.begin() as looking:
        looking.execute(lock, {"id": str(job.id)})
        assert claim(world, replica) == []
    assert claimed_jobs(world, replica) == [job.id]


def test_a_replica_that_has_enough_keeps_no_other_from_the_next_job(world: World) -> None:
    one, two = (world.replica(device) for device in world.devices(2))
    first, narrow = world.running(chunks=1), world.running(chunks=1, replicas=1)
    with world.sessions.begin() as session:
        ((taken, _),) = ClaimRepository(session).claim(one, ENGINE.key, Room(1e9, 1))
        assert taken.job_id == first.id
        assert claimed_jobs(world, two) == [narrow.id]


def test_a_job_that_is_late_gets_no_engine(world: World) -> None:
    (device, _) = world.devices(2)
    replica, job = world.replica(device), world.running(chunks=3, deadline_seconds=3600)
    assert claimed_jobs(world, replica, 1) == [job.id]
    with world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET deadline_at = now() - interval '1 s'"))
    assert claim(world, replica) == []
    world.scheduling.place_once()
    assert len(placed_in(world)) == 1


def test_chunks_go_by_priority_then_age(world: World) -> None:
    (device,) = world.devices(1)
    replica = world.replica(device)
    low, high, late = (world.running(chunks=1, priority=number) for number in (10, 90, 90))
    assert [claimed_jobs(world, replica, 1) for _ in range(3)] == [[high.id], [late.id], [low.id]]
