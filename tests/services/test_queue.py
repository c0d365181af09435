"""The order of the queue and its estimates."""

from __future__ import annotations

from dataclasses import replace

from app.domain.job import JobStatus, Phase
from app.services.coordination import Progress
from app.services.queue import QueueService, line_up
from tests.world import ENGINE, World


def test_the_next_job_starts_when_the_first_running_one_ends(world: World) -> None:
    job = world.jobs.view(world.submit()).job
    waiting = [job, job, replace(job, status=JobStatus.RUNNING, phase=Phase.WAITING_FOR_GPU)]
    lined = line_up(waiting, [90.0, 30.0])
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
    world.serving.next(replica, ENGINE.key, 1.0, 1, idle=True)
    found = [(item.job.id, item.waiting_for) for item in QueueService(sessions=world.sessions).waiting()]
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
    assert world.jobs.view(job.id).rates == {}


def test_the_queue_is_served_by_priority_then_age(world: World) -> None:
    evaluating = world.running(chunks=1)
    world.serving.next(world.replica(world.devices(1)[0]), ENGINE.key, 1.0, 1, idle=True)
    rates = {"eta_seconds": 12.0, "requests_per_second": 1.0, "tokens_per_second": None}
    world.coordination.progress(evaluating, Progress(1, {"toy": 1}, rates), {}, 0.0)
    low, first, second = world.submit(priority=1), world.submit(), world.submit()
    waiting = QueueService(sessions=world.sessions).waiting()
    assert [item.job.id for item in waiting] == [first, second, low]
    assert [item.seconds for item in waiting] == [12.0, None, None]
