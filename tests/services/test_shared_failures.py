"""Chunks that fail for what their requests share: few calls, others go first, and what is given up is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.domain.chunk import ALONE, AfterFailure, Chunk, Room
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.lease import Lease
from app.errors import ChunkLostError
from app.services.serving import Answer, Claimed
from tests.world import ENGINE, FINGERPRINT, World, chunk

FAILURE = Failure(FailureCode.INTERNAL, "ValueError: the following model_kwargs are not used: ['temprature']")
ANSWER = Answer([b"a", b"b"], 0.1, 1)


def generating(job: Lease, position: int, settings: dict[str, object], requests: int = 2) -> Chunk:
    keys = tuple(b"%d/%d" % (position, number) for number in range(requests))
    return replace(chunk(job.id, position), kind="generate_until", gen_kwargs=settings, keys=keys, id=uuid7())


@pytest.fixture
def replica(world: World) -> Lease:
    return world.replica(world.devices(1)[0])


def claim(world: World, replica: Lease) -> list[Claimed]:
    return list(world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks)


def test_settings_that_every_request_fails_with_cost_few_calls(world: World, replica: Lease) -> None:
    job = world.running()
    wrong = [generating(job, position, {"temprature": 0.5}, requests=30) for position in range(10)]
    world.coordination.store_plan(job, wrong, 0)
    calls, told = 0, 0
    while told < ALONE:
        (claimed,) = claim(world, replica)
        world.fail(replica, claimed.chunk, FAILURE)
        calls += 1
        told += len(world.coordination.collect(job, FINGERPRINT).failures)
    assert calls == 2 + ALONE


def test_a_failed_request_is_judged_before_more_are_tried(world: World, replica: Lease) -> None:
    job = world.running()
    world.coordination.store_plan(job, [generating(job, 0, {"a": 1}, 1), generating(job, 1, {"b": 1}, 1)], 0)
    (first,) = (item for item in claim(world, replica) if item.chunk.gen_kwargs == {"a": 1})
    world.serving.keep_only(replica, [first.chunk.id])
    assert world.fail(replica, replace(first.chunk, failures=5), FAILURE) is AfterFailure.GIVE_UP
    assert claim(world, replica) == []
    assert world.coordination.collect(job, FINGERPRINT).failures == [(b"0/0", FAILURE)]
    assert len(claim(world, replica)) == 1


def test_settings_are_tried_with_one_chunk_until_one_is_answered(world: World, replica: Lease) -> None:
    job = world.running()
    plan = [generating(job, position, {"until": [position % 2]}) for position in range(6)]
    world.coordination.store_plan(job, plan, 0)
    first = claim(world, replica)
    assert [item.chunk.position for item in first] == [0, 1], "one of each setting"
    world.serving.answer(replica, first[0], ANSWER)
    assert [item.chunk.position for item in claim(world, replica)] == [2, 4], "the first setting is open now"
    assert claim(world, replica) == [], "one of the second is still in hand"


def test_a_job_whose_chunk_failed_just_now_lets_others_go_first(world: World, replica: Lease) -> None:
    failing, honest, urgent = world.running(chunks=1), world.running(chunks=2), world.running(priority=90)
    (claimed, *others) = claim(world, replica)
    assert claimed.chunk.job_id == failing.id
    world.serving.keep_only(replica, [claimed.chunk.id])
    world.fail(replica, claimed.chunk, FAILURE)
    jobs = [item.chunk.job_id for item in claim(world, replica)]
    assert jobs == [honest.id, honest.id, failing.id]
    assert len(others) == 2
    assert urgent.id not in jobs


def test_a_failing_job_gives_way_for_a_while_only(world: World, replica: Lease) -> None:
    failing, honest = world.running(chunks=1), world.running(chunks=1)
    claimed, other = claim(world, replica)
    world.serving.keep_only(replica, [claimed.chunk.id])
    world.fail(replica, claimed.chunk, FAILURE)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE chunks SET ended_at = ended_at - interval '11 s'"))
    assert [item.chunk.job_id for item in claim(world, replica)] == [failing.id, honest.id]
    assert other.chunk.job_id == honest.id


def test_what_is_withdrawn_is_forgotten_and_its_late_answer_lost(world: World, replica: Lease) -> None:
    job = world.running(chunks=3)
    claimed = claim(world, replica)
    for _ in range(2):
        world.coordination.withdraw(job, [*claimed[0].chunk.keys, *claimed[1].chunk.keys, b"2/0"])
    assert world.coordination.pending_keys(job.id) == set(claimed[2].chunk.keys), "it asks for more"
    with pytest.raises(ChunkLostError):
        world.serving.answer(replica, claimed[0], ANSWER)
    world.serving.answer(replica, claimed[2], ANSWER)
