"""One try at a job, seen from its coordinator."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.domain.chunk import Room
from app.domain.job import Phase
from app.domain.whereabouts import where
from app.settings import Settings
from tests.world import ENGINE, FINGERPRINT, World
from workers.coordinator.relay import HarnessDiedError, Story
from workers.protocol.frames import Connection, Frame, pair
from workers.supervision.log_tail import LogTail


@pytest.fixture
def harness(world: World, settings: Settings, tmp_path: Path) -> Iterator[tuple[Story, Connection]]:
    """A story that has little patience, and the harness child's end of its connection."""
    claimed = world.coordination.claim(world.submit(reuse_responses=True), "coordinator")
    assert claimed
    ours, theirs = pair()
    with closing(ours), theirs:
        story = Story(
            coordination=world.coordination,
            settings=settings.model_copy(update={"stall_seconds": 0.3, "poll_seconds": 0.05}),
            lease=claimed[0],
            job=claimed[1],
            connection=ours,
            log_tail=LogTail(tmp_path / "job.log"),
        )
        yield story, Connection(theirs)


def run(story: Story) -> None:
    story.run(threading.Event(), threading.Event())


PLAN: list[Frame] = [
    {
        "type": "prepared",
        "fingerprint": FINGERPRINT,
        "tasks": [{"name": "toy", "total": 2}],
        "provenance": {},
    },
    {"type": "lookup", "keys": [b"1", b"2"]},
    {"type": "planned"},
]
CHUNK: Frame = {
    "type": "chunk",
    "kind": "loglikelihood",
    "batch_size": 1,
    "gen_kwargs": None,
    "seed": None,
    "cost": 1.0,
    "keys": [b"1"],
    "tasks": {"toy": 1},
    "payload": b"",
}


def test_a_harness_that_says_nothing_while_it_prepares_is_given_up(
    harness: tuple[Story, Connection],
) -> None:
    with pytest.raises(HarnessDiedError, match="said nothing"):
        run(harness[0])


def test_a_harness_that_has_all_its_answers_and_says_nothing_is_given_up(
    harness: tuple[Story, Connection],
) -> None:
    story, child = harness
    for frame in PLAN:
        child.send(frame)

    with pytest.raises(HarnessDiedError, match="said nothing"):
        run(story)


def test_a_harness_that_freezes_while_it_cuts_chunks_is_given_up(harness: tuple[Story, Connection]) -> None:
    story, child = harness
    for frame in PLAN[:-1]:
        child.send(frame)
    child.send(CHUNK)

    with pytest.raises(HarnessDiedError, match="told nothing"):
        run(story)


def test_a_harness_that_freezes_in_the_middle_of_a_frame_is_given_up(
    harness: tuple[Story, Connection],
) -> None:
    story, child = harness
    with socket.socket(fileno=os.dup(child.fileno())) as half:
        half.sendall(b"\0\0")

        with pytest.raises(HarnessDiedError, match="told nothing"):
            run(story)


def test_a_job_whose_engine_answers_other_jobs_first_says_so(world: World) -> None:
    device = world.devices(1)[0]
    first, second = world.running(chunks=1), world.running(chunks=1)
    replica = world.replica(device)
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, Room(1e9, 1))

    reasons = [
        where(world.coordination.engines(job), job)
        for job in (world.jobs.view(lease.id).job for lease in (first, second))
    ]
    assert reasons == [
        (Phase.EVALUATING, "evaluating on 1 replica"),
        (Phase.EVALUATING, "waiting for its turn on 1 replica shared with other jobs"),
    ]


def test_a_tasks_settings_are_judged_for_the_backend_of_the_job(harness: tuple[Story, Connection]) -> None:
    story, child = harness
    child.send({"type": "settings", "settings": '{"until": [5]}'})

    with pytest.raises(HarnessDiedError):
        run(story)
    asked, judged = child.receive(), child.receive()
    assert asked is not None
    assert judged == {
        "type": "judged",
        "faults": ["generation_kwargs.until must be text, or a list of at most 1000 texts, not [5]"],
    }
