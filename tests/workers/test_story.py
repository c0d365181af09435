"""One try at a job, seen from its coordinator."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.domain.job import Phase
from app.settings import Settings
from tests.world import ENGINE, World
from workers.frames import pair
from workers.story import HarnessDiedError, Story, where
from workers.supervision.log_tail import LogTail


def test_a_harness_that_says_nothing_while_it_prepares_is_given_up(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    claimed = world.coordination.claim(world.submit(reuse_responses=True), "coordinator")
    assert claimed
    ours, theirs = pair()
    story = Story(
        coordination=world.coordination,
        settings=settings.model_copy(update={"stall_seconds": 0.3, "poll_seconds": 0.05}),
        lease=claimed[0],
        job=claimed[1],
        connection=ours,
        log_tail=LogTail(tmp_path / "job.log"),
    )
    with theirs, pytest.raises(HarnessDiedError, match="said nothing"):
        story.run(threading.Event(), threading.Event())
    ours.close()


def test_a_job_whose_engine_answers_other_jobs_first_says_so(world: World) -> None:
    device = world.devices(1)[0]
    first, second = world.running(chunks=1), world.running(chunks=1)
    replica = world.replica(device)
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, 1e9, 1, idle=True)

    reasons = [
        where(*world.coordination.engines(job), job)
        for job in (world.jobs.view(lease.id).job for lease in (first, second))
    ]
    assert reasons == [
        (Phase.EVALUATING, "evaluating on 1 replica"),
        (Phase.EVALUATING, "waiting for its turn on 1 replica shared with other jobs"),
    ]
