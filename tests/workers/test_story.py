"""One try at a job, seen from its coordinator."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.settings import Settings
from tests.world import World
from workers.frames import pair
from workers.story import HarnessDiedError, Story
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
