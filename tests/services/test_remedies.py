"""A job whose engine fails goes on with another one; devices that are broken are given out no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.db.replicas import ReplicaRepository
from app.domain.chunk import Room
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.job import Job, Phase
from app.domain.lease import Lease
from app.domain.placement import Start
from app.domain.remedy import Remedy
from app.domain.replica import DeviceState, ReplicaStatus
from app.errors import ChunkLostError, LeaseLostError
from app.services.coordination import Progress
from app.services.serving import Answer
from tests.world import ENGINE, World, chunk

OUT_OF_MEMORY = Failure(FailureCode.GPU_OUT_OF_MEMORY, "CUDA out of memory", log_tail=("the end",))
DEAD = uuid7()
TOO_SMALL = Failure(FailureCode.KV_CACHE_TOO_SMALL, "too small")
ECC = Failure(
    FailureCode.ENGINE_DIED, "CUDA error: uncorrectable ECC error encountered", facts={"broken_device": True}
)
NCCL = Failure(FailureCode.NCCL_ERROR, "NCCL error in: NCCLUtils.hpp:268")
WIDER = Remedy(replace(ENGINE, gpus=2, args={"parallelize": True}), "devices of one replica 1 -> 2")
SHORTER = Remedy(replace(ENGINE, args={"max_length": 64}), "max_length 128 -> 64", changes_answers=True)


def job_of(world: World, lease: Lease) -> Job:
    return world.jobs.view(lease.id).job


def fail(world: World, device: str, error: Failure, engine: EngineSpec = ENGINE) -> None:
    """A replica of this engine that ends so on the device."""
    with world.sessions.begin() as session:
        replica_id = ReplicaRepository(session).place(Start("a", (device,), engine))
    assert replica_id
    claimed = world.serving.claim(replica_id, "worker")
    assert claimed
    world.serving.end(claimed[0], ReplicaStatus.FAILED, error)


def devices(world: World) -> list[tuple[str, str | None]]:
    return [(device.state, device.reason) for device in world.groups.all()[0].group.devices]


def told(world: World, lease: Lease, event_type: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in world.jobs.events(lease.id, 0) if event.type == event_type]


def test_waiting_chunks_go_to_the_new_engine_alone(world: World) -> None:
    job, (device,) = world.running(chunks=2), world.devices(1)
    world.coordination.remedies.take(job, WIDER, DEAD, OUT_OF_MEMORY)
    replica = world.replica(device)
    assert not world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks
    assert len(world.serving.next(replica, WIDER.engine.key, Room(1e9, 64)).chunks) == 2


def test_a_shorter_length_stands_in_the_command_once(world: World) -> None:
    """Both names of it together are refused."""
    model_args = {"pretrained": ENGINE.model, "max_length": 128}
    job = world.running(model_args=model_args)
    shorter = Remedy(
        replace(ENGINE, args={"max_model_len": 64}), "max_model_len 128 -> 64", changes_answers=True
    )
    world.coordination.remedies.take(job, shorter, DEAD, TOO_SMALL)

    command = job_of(world, job).plan.command
    assert "max_model_len=64" in command
    assert "max_length" not in command


def test_what_prompts_were_cut_for_names_the_engine(world: World) -> None:
    """A replica of the engine as it was posted gets nothing; one of the engine that was prepared for does."""
    job, (device,) = world.running(), world.devices(1)
    args = {**ENGINE.args, "max_model_len": 2048}
    prepared = world.coordination.settle_engine(job, args)
    again = world.coordination.prepared(job, b"f" * 32, [("toy", 2)], {})
    assert prepared.engine == again.engine == job_of(world, job).engine == replace(ENGINE, args=args)

    world.coordination.store_plan(job, [chunk(job.id, 0)], 0)
    replica = world.replica(device)
    assert not world.serving.next(replica, ENGINE.key, Room(1e9, 64)).chunks
    assert len(world.serving.next(replica, prepared.engine.key, Room(1e9, 64)).chunks) == 1


def test_a_remedy_moves_plan_and_command_and_is_told(world: World) -> None:
    job = world.running()
    world.coordination.remedies.take(job, WIDER, DEAD, OUT_OF_MEMORY)
    plan = job_of(world, job).plan
    assert plan.gpus_per_replica == 2
    assert "parallelize=True" in plan.command
    assert plan.explanation[-1] == "devices of one replica 1 -> 2, after gpu_out_of_memory"
    (event,) = told(world, job, "job.retrying")
    said = {"change": WIDER.change, "code": OUT_OF_MEMORY.code, "message": OUT_OF_MEMORY.message}
    assert event == said | {"replica": str(DEAD)}


def test_failed_engines_of_before_stay_with_the_job(world: World) -> None:
    job, (device,) = world.running(chunks=1), world.devices(1)
    fail(world, device, OUT_OF_MEMORY)
    world.coordination.remedies.take(job, WIDER, DEAD, OUT_OF_MEMORY)
    world.mark(device)
    fail(world, device, OUT_OF_MEMORY)  # of the engine that the job has left: somebody else's
    world.mark(device)
    fail(world, device, OUT_OF_MEMORY, WIDER.engine)
    seen = [(replica.engine.gpus, replica.error) for replica in world.jobs.view(job.id).replicas]
    assert seen == [(1, OUT_OF_MEMORY), (2, OUT_OF_MEMORY)]
    found = world.coordination.remedies.troubles(job_of(world, job))
    assert [attempt["change"] for attempt in found.history] == [None, WIDER.change]


def test_a_failure_of_an_earlier_attempt_is_not_held_against_this_one(world: World) -> None:
    (device,) = world.devices(1)
    fail(world, device, OUT_OF_MEMORY)
    job = world.running()
    assert world.coordination.remedies.troubles(job_of(world, job)).failed == ()


def test_a_remedy_that_changes_answers_cuts_every_chunk_anew(world: World) -> None:
    job, (device,) = world.running(chunks=2), world.devices(1)
    replica = world.replica(device)
    claimed = world.serving.next(replica, ENGINE.key, Room(1.0, 1)).chunks[0]
    world.coordination.progress(job, Progress(1, {}, {}), {}, 0.0)
    world.coordination.remedies.take(job, SHORTER, DEAD, TOO_SMALL)
    assert job_of(world, job).phase is Phase.PREPARING
    assert job_of(world, job).requests_done == 0, "told with the replica's name"
    assert world.coordination.pending_keys(job.id) == set()
    with pytest.raises(ChunkLostError):
        world.serving.answer(replica, claimed, Answer([b"a", b"b"], 0.1, 1))


def test_a_coordinator_that_lost_its_job_takes_no_remedy(world: World) -> None:
    job = world.running()
    world.expire(job)
    with pytest.raises(LeaseLostError):
        world.coordination.remedies.take(job, WIDER, DEAD, OUT_OF_MEMORY)
    assert job_of(world, job).engine == ENGINE


@pytest.mark.parametrize(("asked", "widest"), [({}, 2), ({"gpus_per_replica": 1}, 1), ({"group": "b"}, 0)])
def test_a_replica_gets_what_was_asked_for_or_what_its_group_has(
    world: World, asked: dict[str, Any], widest: int
) -> None:
    world.devices(2)
    claimed = world.coordination.claim(world.submit(**asked), "coordinator")
    assert claimed
    assert world.coordination.remedies.troubles(claimed[1]).widest == widest


def test_a_broken_device_is_drained_until_its_group_is_resumed(world: World) -> None:
    first, _ = world.devices(2)
    job = world.running(chunks=1)
    fail(world, first, ECC)
    (state, reason), other = devices(world)
    assert (state, other) == (DeviceState.DRAINED, (DeviceState.FREE, None))
    assert reason is not None
    assert told(world, job, "replica.ended")[0]["drained"] == reason
    world.groups.resume("a")
    assert devices(world)[0] == (DeviceState.DIRTY, "resumed: not seen clean yet")


def test_devices_that_twice_could_not_talk_are_drained(world: World) -> None:
    (device,) = world.devices(1)
    fail(world, device, NCCL)
    assert devices(world)[0][0] == DeviceState.DIRTY
    world.mark(device)
    fail(world, device, NCCL)
    assert devices(world)[0][0] == DeviceState.DRAINED


def test_an_engine_that_failed_is_not_started_at_once_again(world: World) -> None:
    (device,) = world.devices(1)
    world.running(chunks=1)
    fail(world, device, OUT_OF_MEMORY)
    world.mark(device)
    assert world.scheduling.place_once() == 0


def test_an_engine_whose_process_was_killed_is_started_at_once_again(world: World) -> None:
    (device,) = world.devices(1)
    world.running(chunks=1)
    fail(world, device, Failure(FailureCode.ENGINE_DIED, "the process was ended by SIGKILL"))
    world.mark(device)
    assert world.scheduling.place_once() == 1


def test_an_engine_that_takes_its_worker_along_while_it_loads_fails_its_jobs_in_the_end(world: World) -> None:
    (device,) = world.devices(1)
    job = world.running(chunks=1)
    for _ in range(10):
        assert world.coordination.remedies.troubles(job_of(world, job)).verdict() is None
        world.expire(world.replica(device))
        world.scheduling.expire_once()
        world.mark(device)
    verdict = world.coordination.remedies.troubles(job_of(world, job)).verdict()
    assert verdict
    assert (verdict.code, len(verdict.attempts)) == ("lost", 10)
