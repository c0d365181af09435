"""One try at a job, seen from its coordinator."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from app.domain.chunk import Room
from app.domain.job import Phase
from app.domain.whereabouts import where
from app.settings import Settings
from tests.world import ENGINE, FINGERPRINT, World
from workers.coordinator.attempt import Attempt, JobLog
from workers.coordinator.endings import HarnessDied
from workers.coordinator.relay import Relay
from workers.protocol.channel import Channel
from workers.protocol.frames import Connection, pair
from workers.protocol.harness import (
    FROM_HARNESS,
    ORDERS,
    TO_HARNESS,
    AllCut,
    ChunkCut,
    EvaluateOrder,
    FromHarness,
    JudgeSettings,
    LookUp,
    Prepared,
    SettingsJudged,
    ToHarness,
)
from workers.protocol.payload import RequestKind

Child = Channel[FromHarness, ToHarness]


@pytest.fixture
def harness(world: World, settings: Settings, tmp_path: Path) -> Iterator[tuple[Relay, Child]]:
    """A relay that has little patience, and the harness child's end of its connection."""
    claimed = world.coordination.claim(world.submit(reuse_responses=True), "coordinator")
    assert claimed
    lease, job = claimed
    ours, theirs = pair()
    with closing(ours), theirs:
        relay = Relay(
            coordination=world.coordination,
            settings=settings.model_copy(update={"stall_seconds": 0.3, "poll_seconds": 0.05}),
            attempt=Attempt(
                lease,
                JobLog(tmp_path / "job.log", 1 << 20, partial(world.coordination.add_log, job.id)),
                threading.Event(),
            ),
            job=job,
            harness=Channel(ours, FROM_HARNESS),
        )
        yield relay, Channel(Connection(theirs), TO_HARNESS)


def words_of_death(relay: Relay) -> str:
    ending = relay.run(threading.Event())
    assert isinstance(ending, HarnessDied)
    return ending.death.words


PLAN: list[FromHarness] = [
    Prepared(FINGERPRINT, (("toy", 2),), {}),
    LookUp((b"1", b"2")),
    AllCut(),
]
CHUNK = ChunkCut(RequestKind.LOGLIKELIHOOD, 1, None, None, 1.0, (b"1",), b"")


def test_a_harness_that_says_nothing_while_it_prepares_is_given_up(harness: tuple[Relay, Child]) -> None:
    assert "said nothing" in words_of_death(harness[0])


def test_a_harness_that_has_all_its_answers_and_says_nothing_is_given_up(
    harness: tuple[Relay, Child],
) -> None:
    relay, child = harness
    for message in PLAN:
        child.send(message)

    assert "said nothing" in words_of_death(relay)


def test_a_harness_that_freezes_while_it_cuts_chunks_is_given_up(harness: tuple[Relay, Child]) -> None:
    relay, child = harness
    for message in [*PLAN[:-1], CHUNK]:
        child.send(message)

    assert "said nothing" in words_of_death(relay)


def test_a_harness_that_freezes_in_the_middle_of_a_message_is_given_up(harness: tuple[Relay, Child]) -> None:
    relay, child = harness
    with socket.socket(fileno=os.dup(child.connection.fileno())) as half:
        half.sendall(b"\0\0")

        assert "told nothing" in words_of_death(relay)


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


def test_a_tasks_settings_are_judged_for_the_backend_of_the_job(harness: tuple[Relay, Child]) -> None:
    relay, child = harness
    child.send(JudgeSettings('{"until": [5]}'))
    words_of_death(relay)

    assert Channel[FromHarness, EvaluateOrder](child.connection, ORDERS).receive() is not None
    assert child.receive() == SettingsJudged(
        ("generation_kwargs.until must be text, or a list of at most 1000 texts, not [5]",)
    )
