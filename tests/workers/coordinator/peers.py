"""A coordinator's relay under test, and the harness child that a test plays by script."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from app.domain.chunk import Room
from app.domain.job import Job
from app.domain.lease import Lease
from app.services.serving import Answer, Claimed
from app.settings import Settings
from app.traces import NoTraces
from tests.waiting import until
from tests.world import ENGINE, FINGERPRINT, World
from workers.coordinator.attempt import Attempt, AttemptLog
from workers.coordinator.endings import Ending
from workers.coordinator.relay import Harness, Relay
from workers.coordinator.run_spans import RunSpans
from workers.protocol.channel import Channel
from workers.protocol.frames import Connection, pair
from workers.protocol.harness import (
    FROM_HARNESS,
    ORDERS,
    TO_HARNESS,
    AllCut,
    ChunkCut,
    EvaluateOrder,
    Found,
    FromHarness,
    LookUp,
    Prepared,
    ToHarness,
)
from workers.protocol.messages import Messages
from workers.protocol.payload import EndedBy, RequestKind, ResponseNote, pack_note, pack_response

M = TypeVar("M")

PATIENCE_SECONDS = 20.0
KEYS = (b"0" * 32, b"1" * 32)
NOTE = pack_note(ResponseNote(3, EndedBy.LENGTH))
TOTALS = (("toy", 2),)
PREPARED = Prepared(FINGERPRINT, TOTALS, {"versions": {"lm_eval": "0"}})


def chunk(*keys: bytes, cost: float = 10.0) -> ChunkCut:
    return ChunkCut(RequestKind.LOGLIKELIHOOD, 4, None, None, cost, keys or KEYS, b"...")


PLAN: tuple[FromHarness, ...] = (PREPARED, LookUp(KEYS), chunk(), AllCut())
"""All that a harness says until engines are to answer."""


class Child:
    """The harness child's end of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def says(self, *messages: FromHarness) -> None:
        channel: Channel[FromHarness, ToHarness] = Channel(self.connection, TO_HARNESS)
        for message in messages:
            channel.send(message)

    def writes(self, raw: bytes) -> None:
        """Whatever bytes."""
        with socket.socket(fileno=os.dup(self.connection.fileno())) as copy:
            copy.sendall(raw)

    def order(self) -> EvaluateOrder:
        """The first message."""
        return self._next(ORDERS)

    def hears(self, kind: type[M]) -> M:
        """The next message, which is of this kind."""
        heard = self._next(TO_HARNESS)
        assert isinstance(heard, kind), heard
        return heard

    def _next(self, kinds: Messages[M]) -> M:
        heard = Channel[FromHarness, M](self.connection, kinds).receive(PATIENCE_SECONDS)
        assert heard is not None
        return heard

    def close(self) -> None:
        with suppress(OSError):
            self.connection.close()


class Try:
    """One try at a job: a relay, and who plays its child."""

    def __init__(self, world: World, settings: Settings, attempt: Attempt, opened: ExitStack) -> None:
        self.world = world
        self.attempt = attempt
        self.stopping = threading.Event()
        self.settings = settings
        self.crowded = False
        self._opened = opened
        ours, theirs = pair()
        self.child = Child(Connection(theirs))
        opened.callback(ours.close)
        opened.callback(self.child.close)
        self.harness: Harness = Channel(ours, FROM_HARNESS)
        self.relay = Relay(
            coordination=world.coordination,
            settings=settings,
            attempt=attempt,
            job=world.coordination.held(attempt.lease),
            harness=self.harness,
            crowded=lambda: self.crowded,
        )

    def again(self, attempt: Attempt | None = None) -> Try:
        """The next try at the same job, by another coordinator where an attempt is given."""
        return Try(self.world, self.settings, attempt or self.attempt, self._opened)

    @property
    def lease(self) -> Lease:
        return self.attempt.lease

    @property
    def job(self) -> Job:
        return self.world.jobs.view(self.lease.id).job

    def ends(self, *messages: FromHarness) -> Ending:
        """How it ends once its child has said this."""
        self.child.says(*messages)
        return self.relay.run(self.stopping)

    @contextmanager
    def running(self, *messages: FromHarness) -> Iterator[Future[Ending]]:
        """At work meanwhile, with its order given and this said."""
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(self.relay.run, self.stopping)
            self.child.order()
            self.child.says(*messages)
            try:
                yield ending
            finally:
                self.child.close()
                ending.exception(PATIENCE_SECONDS)

    @contextmanager
    def evaluating(self, *messages: FromHarness) -> Iterator[Future[Ending]]:
        """Likewise, with its requests in line for engines."""
        with self.running(*PLAN) as ending:
            self.child.hears(Found)
            until(lambda: self.job.phase != "preparing")
            self.child.says(*messages)
            yield ending

    def told(self, event_type: str) -> list[dict[str, object]]:
        events = self.world.jobs.events(self.lease.id, 0)
        return [dict(event.data) for event in events if event.type == event_type]


class Engine:
    """A replica in a worker's hands."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lease = world.replica(world.devices(1)[0])

    def takes(self) -> Sequence[Claimed]:
        """Whatever waits."""
        return self.world.serving.next(self.lease, ENGINE.key, Room(1e9, 1000)).chunks

    def answers(self, value: object) -> None:
        """Every request that waits, alike."""
        for claimed in self.takes():
            self.stores(claimed, value)

    def stores(self, claimed: Claimed, value: object = "a") -> None:
        """The answers to a chunk."""
        values = [pack_response(value) for _ in claimed.chunk.keys]
        self.world.serving.answer(self.lease, claimed, Answer(values, 0.5, 7, notes=[NOTE] * len(values)))


@contextmanager
def a_try(world: World, settings: Settings, folder: Path, patience: float, **spec: object) -> Iterator[Try]:
    """One of a relay that waits so many seconds for its child."""
    attempt = an_attempt(world, world.submit(reuse_responses=True, **spec), folder)
    hasty = settings.model_copy(update={"stall_seconds": patience, "poll_seconds": 0.02})
    with ExitStack() as opened:
        yield Try(world, hasty, attempt, opened)


def an_attempt(world: World, job_id: UUID, folder: Path) -> Attempt:
    """A job in a coordinator's hands."""
    claimed = world.coordination.claim(job_id, "coordinator")
    assert claimed
    log = AttemptLog(folder / "job.log", 1 << 20, partial(world.coordination.add_log, job_id))
    return Attempt(claimed[0], log, threading.Event(), RunSpans(NoTraces(), claimed[1]))
