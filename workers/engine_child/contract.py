"""What an engine is asked and what it answers; which engines there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID

from workers.protocol.engine import AnswerChunk, Draws, Load
from workers.protocol.payload import RequestKind, unpack_requests

ENGINES = ("hf", "echo")
"""Backends, each with a folder of its name, whose `engine` has a `load`."""


@dataclass(frozen=True)
class OpenChunk:
    """Requests of one kind and one generation setting, opened, to be answered as a whole."""

    id: UUID
    kind: RequestKind
    batch_size: int | str
    gen_kwargs: Mapping[str, Any]
    draws: Draws | None
    requests: Sequence[Any]

    @classmethod
    def of(cls, message: AnswerChunk) -> OpenChunk:
        """The chunk that a message carries shut."""
        return cls(
            id=message.chunk,
            kind=message.kind,
            batch_size=message.batch_size,
            gen_kwargs=message.gen_kwargs,
            draws=message.draws,
            requests=unpack_requests(message.payload),
        )


@dataclass(frozen=True)
class Responses:
    """One response for each request of a chunk, in order, and what they took."""

    values: Sequence[Any]
    batch_size: int
    tokens: int
    """Read and generated."""


class Progress:
    """Tells of answered requests, at most four times a second."""

    INTERVAL_SECONDS = 0.25

    def __init__(self, tell: Callable[[int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._told_at = clock()
        self._done = 0

    def add(self, count: int) -> None:
        """So many more requests are answered."""
        self._done += count
        now = self._clock()
        if now - self._told_at >= self.INTERVAL_SECONDS:
            self._told_at = now
            self._tell(self._done)


class Reports(Protocol):
    """How an engine speaks while it answers a chunk."""

    def progress(self) -> Progress:
        """A count of this chunk's answered requests, starting at none."""

    def warn(self, code: str, change: str) -> None:
        """Something went wrong and was cured by this change."""


class Backend(Protocol):
    """A loaded model."""

    provenance: Mapping[str, Any]

    def answer(self, chunk: OpenChunk, reports: Reports) -> Responses:
        """Answer every request; any exception fails the chunk."""

    def recover(self) -> None:
        """Clean up after a failed chunk; raises where the engine can answer no more."""


def load_engine(order: Load) -> Backend:
    """Load the model; raises whatever its backend does where it cannot be."""
    backend = order.engine.backend
    if backend not in ENGINES:
        raise ValueError(f"no engine for backend {backend!r}; there are {', '.join(ENGINES)}")
    module = import_module(f"workers.engine_child.{backend}.engine")
    engine: Backend = module.load(order)
    return engine
