"""The order of the queue and its estimates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.chunk import Room
from app.domain.job import JobStatus, Phase
from app.domain.placement import Group
from app.domain.replica import Device, DeviceState
from app.services.coordination import Progress
from app.services.queue import QueueService, line_up
from tests.world import ENGINE, TTL, World

DEVICES = tuple(Device(f"GPU-{index}", index, "H100") for index in range(2))
GROUP = Group("a", DEVICES, frozenset({"hf"}), alive=True, draining=False)
HALF = replace(GROUP, devices=(DEVICES[0], replace(DEVICES[1], state=DeviceState.DRAINED)))


WANTS: list[tuple[list[Group], int, str | None, str]] = [
    ([GROUP], 1, None, "1 free device in one group"),
    ([GROUP], 2, "a", "2 free devices in group a"),
    ([GROUP], 4, None, "4 free devices in one group, where there are 2 at most"),
    ([HALF], 2, None, "2 free devices in one group, where there are 1 at most"),
    ([], 1, None, "the backend hf in a running group"),
    ([replace(GROUP, draining=True)], 1, None, "the backend hf in a running group"),
    ([replace(GROUP, backends=frozenset({"vllm"}))], 1, "a", "the backend hf in group a"),
    ([GROUP], 1, "b", "group b, of which no worker has reported"),
    ([replace(GROUP, alive=False)], 1, "a", "group a, whose worker is silent"),
    ([replace(GROUP, draining=True)], 1, "a", "group a, which is draining"),
]


def test_a_job_without_devices_says_what_must_be_there(world: World) -> None:
    job = world.jobs.view(world.submit()).job
    for groups, gpus, group, says in WANTS:
        waiting = replace(
            job,
            status=JobStatus.RUNNING,
            phase=Phase.WAITING_FOR_GPU,
            engine=replace(job.engine, gpus=gpus),
            plan=replace(job.plan, group=group),
        )
        (lined,) = line_up([waiting], [], groups)
        assert lined.waiting_for == says


@pytest.mark.parametrize(
    ("model", "offered", "says"),
    [
        ("vllm", "hf", "the backend vllm or vllm-cpu in a running group"),
        ("vllm", "vllm-cpu", "the backend vllm in a running group"),
        ("vllm-cpu", "vllm", "the backend vllm-cpu in a running group"),
    ],
)
def test_whatever_could_serve_a_job_is_named(world: World, model: str, offered: str, says: str) -> None:
    job = world.jobs.view(world.submit()).job
    waiting = replace(
        job,
        spec={**job.spec, "model": model},
        status=JobStatus.RUNNING,
        phase=Phase.WAITING_FOR_GPU,
        engine=replace(job.engine, backend=model),
    )
    (lined,) = line_up([waiting], [], [replace(GROUP, backends=frozenset({offered}))])
    assert lined.waiting_for == says


def test_the_next_job_starts_when_the_first_running_one_ends(world: World) -> None:
    job = world.jobs.view(world.submit()).job
    waiting = [job, job, replace(job, status=JobStatus.RUNNING, phase=Phase.WAITING_FOR_GPU)]
    lined = line_up(waiting, [90.0, 30.0], [GROUP])
    assert [(item.position, item.seconds) for item in lined] == [(1, 30.0), (2, 90.0), (3, None)]
    assert lined[0].waiting_for == "a coordinator, to build its prompts"
    assert lined[2].waiting_for == "1 free device in one group"


def test_all_that_waits_is_in_the_queue_and_nothing_else(world: World) -> None:
    paused = world.submit(priority=99)
    world.jobs.pause(paused)
    served, turn = world.running(chunks=3), world.running(chunks=1)
    loading, scoring, done, queued = world.running(chunks=1), world.running(), world.running(), world.submit()
    world.coordination.enter(loading, Phase.LOADING, "loading")
    world.coordination.enter(scoring, Phase.SCORING, "scoring")
    world.coordination.stop(done, JobStatus.CANCELLED, "cancelled")
    replica = world.replica(world.devices(1)[0])
    world.serving.next(replica, ENGINE.key, Room(1.0, 1))
    found = [
        (item.job.id, item.waiting_for) for item in QueueService(sessions=world.sessions, ttl=TTL).waiting()
    ]
    assert found == [
        (turn.id, "its turn on replicas shared with other jobs"),
        (loading.id, "its engine to load"),
        (queued, "a coordinator, to build its prompts"),
        (paused, "its user, to resume it"),
    ]
    assert served.id not in dict(found)


def test_a_pace_is_forgotten_where_engines_load_again(world: World) -> None:
    job = world.running(chunks=1)
    world.coordination.progress(job, Progress(1, {"toy": 1}, {"eta_seconds": 12.0}), {}, 0.0)
    world.coordination.enter(job, Phase.LOADING, "loading")
    world.coordination.enter(job, Phase.EVALUATING, "evaluating")
    assert world.jobs.view(job.id).progress.eta_seconds is None


def test_the_queue_is_served_by_priority_then_age(world: World) -> None:
    evaluating = world.running(chunks=1)
    world.serving.next(world.replica(world.devices(1)[0]), ENGINE.key, Room(1.0, 1))
    rates = {"eta_seconds": 12.0, "requests_per_second": 1.0, "tokens_per_second": None}
    world.coordination.progress(evaluating, Progress(1, {"toy": 1}, rates), {}, 0.0)
    low, first, second = world.submit(priority=1), world.submit(), world.submit()
    waiting = QueueService(sessions=world.sessions, ttl=TTL).waiting()
    assert [item.job.id for item in waiting] == [first, second, low]
    assert [item.seconds for item in waiting] == [12.0, None, None]
