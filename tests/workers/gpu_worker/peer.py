"""An engine child that a test plays, and its supervisor's feed in a thread of its own, over a real database."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy import text

from app.domain.failure import Failure
from app.domain.lease import Lease, Order
from app.services.serving import ServingService
from app.settings import Settings
from tests.waiting import until
from tests.world import World
from workers.gpu_worker.endings import Ending, EngineFailed
from workers.gpu_worker.feed import Feed, Started
from workers.gpu_worker.group import EngineCommand
from workers.gpu_worker.held import Held
from workers.protocol.channel import Channel
from workers.protocol.engine import (
    TO_ENGINE,
    AnswerChunk,
    Answered,
    ChunkFailed,
    FromEngine,
    Load,
    Loaded,
    Raised,
    ToEngine,
)
from workers.protocol.frames import Connection, pair
from workers.protocol.payload import pack_requests, pack_response, unpack_requests

SECONDS = 20.0
TWO_REQUESTS = pack_requests([[[1], [2]], [[1], [3]]])
REFUSED = Raised("ValueError", "cannot read 'a secret'", "")

T = TypeVar("T")


class Tenure:
    """A lease's heartbeat that a test turns."""

    def __init__(self) -> None:
        self.lost = False
        self.reply: Order | None = None


class Peer:
    """One engine child: what it hears, says and writes, and how it ends."""

    def __init__(self, log_path: Path) -> None:
        ours, theirs = pair()
        self.connection = ours
        self.status: int | None = None
        self.outgrew: str | None = None
        self.stopped = False
        self.socket: socket.socket = theirs
        self._channel: Channel[FromEngine, ToEngine] = Channel(Connection(theirs), TO_ENGINE)
        self._log_path = log_path
        log_path.touch()

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """As a child does; it has ended or it never does."""
        return self.status

    def stop(self, grace_seconds: float) -> bool:
        """As a child does."""
        self.stopped = True
        return True

    def hear(self, kind: type[T]) -> T:
        """The next message, which is of this kind."""
        message = self._channel.receive(SECONDS)
        assert isinstance(message, kind), message
        return message

    def hears_nothing(self) -> bool:
        """Whether nothing has been sent that was not heard."""
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self.socket.setblocking(True)

    def say(self, message: FromEngine) -> None:
        """Tell the supervisor."""
        self._channel.send(message)

    def load(self, window: int = 0, **provenance: str) -> Load:
        """Load the model as told."""
        order = self.hear(Load)
        self.say(Loaded(0.5, {"versions": {}, **provenance}, window))
        return order

    def take(self) -> AnswerChunk:
        """The next chunk."""
        return self.hear(AnswerChunk)

    def answer(self, chunk: AnswerChunk, seconds: float = 0.1) -> None:
        """Answer every request of a chunk."""
        responses = tuple(pack_response(request) for request in unpack_requests(chunk.payload))
        self.say(Answered(chunk.chunk, responses, seconds, len(responses), 1, self.log_end))

    def refuse(self, chunk: AnswerChunk, *, fatal: bool = False, error: Raised = REFUSED) -> None:
        """Fail a chunk."""
        self.say(ChunkFailed(chunk.chunk, error, fatal, self.log_end))

    @property
    def log_end(self) -> int:
        """How far its log goes."""
        return self._log_path.stat().st_size

    def write(self, line: str) -> None:
        """A line of its log."""
        with self._log_path.open("a") as log:
            log.write(f"{line}\n")

    def die(self, status: int) -> None:
        """End: an exit code, or a signal's number negated."""
        self.status = status
        self.socket.close()


class Feeding:
    """A replica that is fed, in a thread, from the device that is named."""

    def __init__(self, world: World, settings: Settings, device: str, serving: ServingService | None) -> None:
        self.world = world
        self.lease: Lease = world.replica(device)
        log_path = settings.data_dir / f"{self.lease.id}.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self.peer, self.tenure, self.stopping = Peer(log_path), Tenure(), threading.Event()
        replica = next(
            each for state in world.groups.all() for each in state.replicas if each.id == self.lease.id
        )
        held = Held(replica, self.lease, serving or world.serving, self.tenure)
        started = Started(self.peer, EngineCommand((), {}, "cpu", {"driver": "1"}), log_path)
        self._feed = Feed(held, started, settings, self.stopping)
        self._pool = ThreadPoolExecutor(1)

    def ending(self) -> Ending:
        """How it ended, once it has."""
        return self._ending.result(SECONDS)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._ending.done()

    def __enter__(self) -> Self:
        self._ending: Future[Ending] = self._pool.submit(self._feed.run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tenure.lost = True
        self._pool.shutdown()
        self.peer.socket.close()
        self.peer.connection.close()


class Flaky:
    """A service of which each of the named methods fails, once or always, before or after it did what it is asked."""

    def __init__(
        self,
        serving: ServingService,
        error: Exception,
        *methods: str,
        after: bool = False,
        once: bool = True,
    ) -> None:
        self._serving = serving
        self._error = error
        self._methods = methods
        self._after, self._once = after, once
        self.spared = set(methods)
        """Those that have not failed yet."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._serving, name)
        if name not in (self.spared if self._once else self._methods):
            return method

        def failing(*arguments: Any) -> Any:
            self.spared.discard(name)
            if self._after:
                method(*arguments)
            raise self._error

        return failing


def chunk_rows(world: World, *columns: str) -> list[tuple[Any, ...]]:
    """The chunks, as they are stored, in the order of their jobs."""
    query = f"SELECT {', '.join(columns)} FROM chunks ORDER BY job_id, position, cost DESC"  # noqa: S608
    with world.sessions.begin() as session:
        return [tuple(row) for row in session.execute(text(query))]


def give_payloads(world: World) -> None:
    """Requests that can be opened, in every chunk."""
    with world.sessions.begin() as session:
        session.execute(text("UPDATE chunks SET payload = :payload"), {"payload": TWO_REQUESTS})


def is_settled(world: World, chunk: AnswerChunk) -> bool:
    """Whether the chunk is in nobody's hands."""
    return chunk.chunk not in {row[0] for row in chunk_rows(world, "id", "token") if row[1]}


def answer_one(world: World, peer: Peer) -> None:
    """Answer the next chunk and see it stored."""
    chunk = peer.take()
    peer.answer(chunk)
    until(lambda: is_settled(world, chunk))


def failure_of(ending: Ending) -> Failure:
    """Of an engine that failed."""
    assert isinstance(ending, EngineFailed)
    return ending.failure


def logs(world: World, *jobs: UUID) -> list[str]:
    """What was stored of engines' logs for each of the jobs."""
    return [piece.text for job in jobs for piece in world.results.logs(job, seen={}).pieces]
