"""A job for vllm meets workers that have only what stands in for it: before its prompts are built, and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.domain.job import JobStatus, Phase
from app.settings import Settings
from tests.workers.coordinator.peers import PLAN, Try, an_attempt
from tests.workloads.lm_eval.reading.desk import Desk
from tests.workloads.lm_eval.reading.test_groups import group
from tests.world import World
from workers.coordinator.binding import rebound, waits_again
from workers.coordinator.endings import Ended, EngineChanged
from workers.coordinator.waiting import WaitingJobs


@pytest.fixture
def there(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def early(world: World, there: Desk, settings: Settings, tmp_path: Path) -> Iterator[Try]:
    """A try at a job whose worker is gone."""
    there.groups = [group("gone", "vllm")]
    job, _ = world.jobs.submit(there.submit(model="vllm", replicas=1), "alice")
    roots = {"model_paths": there.settings.model_paths, "task_paths": there.settings.task_paths}
    found = settings.model_copy(update={"stall_seconds": 60.0, "poll_seconds": 0.02, **roots})
    with ExitStack() as opened:
        yield Try(world, found, an_attempt(world, job.id, tmp_path), opened)


def test_a_job_goes_to_the_stand_in_that_has_come(early: Try) -> None:
    before, coordination = early.job, early.world.coordination
    early.world.devices(1, backend="vllm-cpu")
    after = rebound(coordination, early.settings, early.attempt, before)

    assert after is not None
    assert (before.engine.backend, after.engine.backend, after.plan.backend) == (
        "vllm",
        "vllm-cpu",
        "vllm-cpu",
    )
    assert (after.spec, after.plan.replicas) == (before.spec, 1)
    assert "--model vllm " in after.plan.command
    assert early.told("job.retrying") == [
        {"reason": "vllm-cpu serves it now: no worker has what it was planned for"}
    ]
    assert rebound(coordination, early.settings, early.attempt, after) is None


def test_what_was_cut_for_another_backend_is_forgotten(early: Try) -> None:
    early.world.devices(1, backend="vllm-cpu")
    assert early.ends(*PLAN) == EngineChanged()
    assert early.job.engine.backend == "vllm-cpu"
    assert early.world.coordination.pending_keys(early.lease.id) == set()
    assert (early.job.phase, early.told("job.phase")[-1]["phase"]) == (Phase.PREPARING, Phase.PREPARING)


def test_a_worker_that_is_started_again_loses_no_job_to_another(early: Try) -> None:
    early.world.devices(1, backend="vllm")
    early.world.devices(1, "b", backend="vllm-cpu")
    early.world.silence("a")
    assert rebound(early.world.coordination, early.settings, early.attempt, early.job) is None


def test_a_stand_in_that_refuses_the_job_is_told_once(early: Try, there: Desk) -> None:
    early.world.devices(1, backend="vllm-cpu")
    (there.model / "config.json").unlink()
    for _ in range(3):
        assert rebound(early.world.coordination, early.settings, early.attempt, early.job) is None
    (told,) = early.told("job.warning")
    assert "what a worker has in place of vllm refuses it: model_args.pretrained" in str(told["reason"])
    assert early.job.engine.backend == "vllm"


@pytest.fixture
def patient(world: World, there: Desk, settings: Settings, tmp_path: Path) -> Iterator[Try]:
    """A try at a job that waits for capacity, which was there."""
    world.devices(1, "a", backend="vllm")
    there.groups = world.coordination.waiting.capacity().groups
    job, _ = world.jobs.submit(there.submit(model="vllm", replicas=1, wait_for_capacity=True), "alice")
    roots = {"model_paths": there.settings.model_paths, "task_paths": there.settings.task_paths}
    found = settings.model_copy(update={"stall_seconds": 60.0, "poll_seconds": 0.02, **roots})
    with ExitStack() as opened:
        yield Try(world, found, an_attempt(world, job.id, tmp_path), opened)


def test_a_job_that_waits_for_capacity_is_put_back_where_that_is_gone(patient: Try) -> None:
    patient.world.devices(1, "b", backend="hf")
    patient.world.silence("a")
    patient.world.settle("b")
    assert patient.ends(*PLAN) == Ended()
    assert (patient.job.status, patient.job.waits_for) == (JobStatus.QUEUED, "backend vllm or vllm-cpu")
    assert patient.told("job.queued")[-1] == {"reason": "waiting for backend vllm or vllm-cpu"}
    watch = WaitingJobs(waiting=patient.world.coordination.waiting, settings=patient.settings)
    assert watch.look_once() == 0
    patient.world.devices(1, "c", backend="vllm")
    assert watch.look_once() == 1
    assert patient.world.coordination.claim(patient.lease.id, "coordinator")


def test_it_goes_on_while_its_group_may_come_back(patient: Try) -> None:
    before = (patient.world.coordination, patient.settings, patient.attempt, patient.job)
    assert not waits_again(*before)
    patient.world.devices(1, "b", backend="hf")
    assert not waits_again(*before)
    assert patient.job.status is JobStatus.RUNNING


def test_a_job_that_is_refused_by_now_is_left_where_it_is(patient: Try, there: Desk) -> None:
    (there.model / "config.json").unlink()
    assert not waits_again(patient.world.coordination, patient.settings, patient.attempt, patient.job)
