"""What an engine said of itself stands beside its answers, for jobs that are given them later too."""

from __future__ import annotations

import pytest

from app.domain.chunk import Room
from app.domain.job import JobStatus
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.errors import ChunkLostError
from app.services.serving import Answer
from tests.world import ENGINE, FINGERPRINT, World

ANSWER = Answer([b"a", b"b"], 0.1, 1)


def answers(world: World, device: str, **facts: str) -> Lease:
    """A replica that said this of itself and has answered the first chunk in line."""
    replica = world.replica(device)
    world.serving.loaded(replica, dict(facts))
    (claimed,) = world.serving.next(replica, ENGINE.key, Room(1e9, 1)).chunks
    world.serving.answer(replica, claimed, ANSWER)
    return replica


def test_a_job_whose_answers_were_all_stored_has_the_facts_of_who_gave_them(world: World) -> None:
    first = world.running(chunks=1)
    replica = answers(world, world.devices(1)[0], dtype="float32")
    world.coordination.stop(first, JobStatus.CANCELLED, "cancelled")
    world.serving.end(replica, ReplicaStatus.RELEASED)
    second = world.running()
    assert world.coordination.engine_facts(second, FINGERPRINT) == {"dtype": "float32"}
    assert world.coordination.engine_facts(second, b"another engine") is None


def test_a_job_has_the_facts_of_its_own_engine_before_those_of_others(world: World) -> None:
    devices = world.devices(2)
    world.running(chunks=1)
    answers(world, devices[0], gpu="of the first job")
    own = world.running(chunks=1)
    answers(world, devices[1], gpu="of its own")
    later = world.running()
    assert world.coordination.engine_facts(own, FINGERPRINT) == {"gpu": "of its own"}
    assert world.coordination.engine_facts(later, FINGERPRINT) == {"gpu": "of the first job"}


def test_an_engine_that_says_nothing_leaves_nothing(world: World) -> None:
    job = world.running(chunks=1)
    replica = world.replica(world.devices(1)[0])
    (claimed,) = world.serving.next(replica, ENGINE.key, Room(1e9, 1)).chunks
    world.serving.answer(replica, claimed, ANSWER)
    assert world.coordination.engine_facts(job, FINGERPRINT) is None


def test_facts_are_kept_with_answers_or_not_at_all(world: World) -> None:
    job = world.running(chunks=1)
    replica = world.replica(world.devices(1)[0])
    world.serving.loaded(replica, {"dtype": "float32"})
    (claimed,) = world.serving.next(replica, ENGINE.key, Room(1e9, 1)).chunks
    world.serving.keep_only(replica, [])
    with pytest.raises(ChunkLostError):
        world.serving.answer(replica, claimed, ANSWER)
    assert world.coordination.engine_facts(job, FINGERPRINT) is None


def test_the_page_about_a_host_stands_in_the_document_alone(world: World) -> None:
    job = world.running(chunks=1)
    answers(world, world.devices(1)[0], dtype="float32", environment="PyTorch version: 2.13.0")
    world.coordination.finish(job, "{}", "model", "date")
    assert world.results.document(job.id)["evalq"]["engines"] == [{"dtype": "float32"}]
