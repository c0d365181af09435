"""Requests in flight on a vLLM engine: refilled from chunk after chunk, dropped by abort, told apart by chunk."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from workers.engine_child.contract import ChunkResponses, Done, Outcome, Reports, Unanswered

log = logging.getLogger("engine")

WAIT_SECONDS = 0.1
"""So long a message may wait while vLLM reads a long prompt."""


class VLLMOutput(Protocol):
    """What vLLM tells of a request."""

    @property
    def request_id(self) -> str:
        """The name that it was added with."""

    @property
    def finished(self) -> bool:
        """Whether this is all."""


class Flight(Protocol):
    """What is used of vLLM's engine."""

    def add(self, name: str, tokens: Sequence[int], params: Mapping[str, Any]) -> Exception | None:
        """Begin to answer; why not, where this request cannot be. Raises where the engine is dead."""

    def ready(self, seconds: float) -> bool:
        """Whether a step would tell something, within this time."""

    def step(self) -> Iterable[VLLMOutput]:
        """What vLLM tells next; raises where the engine is dead."""

    def abort(self, names: Sequence[str]) -> None:
        """Forget these requests."""

    def generated(self, name: str) -> int:
        """Tokens that were generated for a request in flight."""


@dataclass(frozen=True)
class Read:
    """What an output told."""

    answers: Sequence[tuple[int, Any]]
    """Responses that are whole now, by their places in the chunk."""
    tokens: int
    """Read and generated."""
    again: Sequence[Ask] = ()
    """What is still to be asked, before all else that waits."""


@dataclass(frozen=True)
class Ask:
    """One vLLM request, and what reads its output; what that raises fails its chunk.

    A response may need several of them, and one may serve several responses.
    """

    tokens: Sequence[int]
    params: Mapping[str, Any]
    read: Callable[[Any], Read]


@dataclass
class _Work:
    """A chunk in hand."""

    values: list[Any]
    open: int
    """Responses that are missing."""
    asks: int
    """What is still to be read."""
    cuts: Sequence[int]
    tokens: int = 0
    begun_at: float | None = None
    names: set[str] = field(default_factory=set)


class Window:
    """Keeps so many requests in flight; chunks are answered in any order."""

    def __init__(self, flight: Flight, size: int, reports: Reports) -> None:
        self._flight = flight
        self._size = size
        self._reports = reports
        self._works: dict[UUID, _Work] = {}
        self._waiting: deque[tuple[UUID, Ask]] = deque()
        self._flying: dict[str, tuple[UUID, Ask]] = {}
        self._told: dict[str, int] = {}
        self._count = 0

    def add(self, chunk: UUID, cuts: Sequence[int], asks: Sequence[Ask]) -> None:
        """Take a chunk in hand, with what is to be asked for it, in this order; `cuts` are those of its requests."""
        self._works[chunk] = _Work([None] * len(cuts), len(cuts), len(asks), cuts)
        self._waiting.extend((chunk, ask) for ask in asks)

    def step(self) -> list[Outcome]:
        """Fill the window, wait for a moment for what vLLM tells, and tell which chunks ended."""
        ended = self._fill()
        if self._flying and self._flight.ready(WAIT_SECONDS):
            for output in self._flight.step():
                ended += self._take(output)
            self._tell_generated()
        return ended

    def drop(self, chunks: Collection[UUID]) -> None:
        """Forget these chunks; what is in flight for them is aborted, and the others go on."""
        gone = [self._works.pop(chunk) for chunk in chunks if chunk in self._works]
        self._waiting = deque(item for item in self._waiting if item[0] in self._works)
        names = [name for work in gone for name in work.names]
        for name in names:
            self._forget(name)
        if names:
            self._flight.abort(names)

    def _fill(self) -> list[Outcome]:
        refused: list[Outcome] = []
        while self._waiting and len(self._flying) < self._size:
            chunk, ask = self._waiting.popleft()
            name = str(self._count)
            self._count += 1
            work = self._works[chunk]
            work.begun_at = work.begun_at or time.monotonic()
            if refusal := self._flight.add(name, ask.tokens, ask.params):
                self.drop([chunk])
                refused.append(Unanswered(chunk, refusal))
                continue
            work.names.add(name)
            self._flying[name] = (chunk, ask)
        return refused

    def _take(self, output: VLLMOutput) -> list[Outcome]:
        if not output.finished or output.request_id not in self._flying:
            return []
        chunk, ask = self._flying[output.request_id]
        self._forget(output.request_id)
        self._works[chunk].names.discard(output.request_id)
        try:
            self._enter(chunk, ask.read(output))
        except Exception as error:
            log.exception("a request of chunk %s has no answer", chunk)
            self.drop([chunk])
            return [Unanswered(chunk, error)]
        return [] if self._works[chunk].asks else [self._done(chunk)]

    def _enter(self, chunk: UUID, told: Read) -> None:
        """Note what came of a request; raises where nothing is left to be asked and responses are missing."""
        work = self._works[chunk]
        for place, value in told.answers:
            work.values[place] = value
        work.tokens += told.tokens
        work.open -= len(told.answers)
        work.asks += len(told.again) - 1
        if work.open and not work.asks:
            raise RuntimeError(f"{work.open} requests were answered by nothing that was asked")
        self._waiting.extendleft((chunk, ask) for ask in reversed(told.again))
        if told.answers:
            self._reports.answered(chunk, len(told.answers))

    def _done(self, chunk: UUID) -> Done:
        work = self._works.pop(chunk)
        seconds = time.monotonic() - (work.begun_at or 0.0)
        at_once = min(self._size, len(work.values))
        return Done(chunk, ChunkResponses(work.values, at_once, work.tokens, cuts=work.cuts), seconds)

    def _forget(self, name: str) -> None:
        self._flying.pop(name, None)
        self._told.pop(name, None)

    def _tell_generated(self) -> None:
        """Tokens of requests that still run: one long generation is no stall."""
        more = 0
        for name in self._flying:
            now = self._flight.generated(name)
            more += now - self._told.get(name, 0)
            self._told[name] = now
        if more:
            self._reports.generated(more)
