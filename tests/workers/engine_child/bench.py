"""A loop without a socket, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import msgpack
import pytest

from app.domain.ids import uuid7
from workers.engine_child.contract import ChunkResponses, Engine, OpenChunk
from workers.engine_child.echo.answers import response
from workers.engine_child.echo.engine import load
from workers.engine_child.loop import Loop
from workers.engine_child.one_at_a_time import InWork
from workers.engine_child.telling import Telling
from workers.protocol.engine import (
    AnswerChunk,
    Answered,
    ChunkFailed,
    EngineRecipe,
    FromEngine,
    Load,
    ToEngine,
)
from workers.protocol.payload import RequestKind, pack_requests

MODES: Sequence[Mapping[str, Any]] = ({}, {"stream": True, "window": 6})
both_modes = pytest.mark.parametrize("mode", MODES, ids=["one at a time", "stream"])


def texts(name: str, count: int = 4) -> list[str]:
    return [f"{name} {number}" for number in range(count)]


def chunk(requests: Sequence[str]) -> AnswerChunk:
    return AnswerChunk(uuid7(), RequestKind.GENERATE, 4, {}, None, pack_requests(requests))


class Bench:
    """A loop without a socket: what it is told before each step, and all that it says."""

    def __init__(self, make: Callable[[Telling], Engine]) -> None:
        self.said: list[FromEngine] = []
        self.inbox: SimpleQueue[ToEngine] = SimpleQueue()
        self.now = 0.0
        telling = Telling(self.said.append, lambda: self.now)
        self.loop = Loop(make(telling), self.inbox, self.said.append, telling)

    def tell(self, *messages: ToEngine) -> None:
        for message in messages:
            self.inbox.put(message)

    def settled(self) -> dict[UUID, Answered | ChunkFailed]:
        """Chunks that ended, in that order."""
        return {
            message.chunk: message for message in self.said if isinstance(message, Answered | ChunkFailed)
        }

    def work(self, count: int) -> list[Answered | ChunkFailed]:
        """Until so many more chunks have ended; more steps than there is work are none."""
        before = len(self.settled())
        while len(self.settled()) < before + count:
            assert self.loop.once()
        return list(self.settled().values())[before:]


def echo(**args: Any) -> Bench:
    return Bench(lambda telling: load(Load(EngineRecipe("echo", "-", args=args), "cpu", 8), telling))


def values(message: Answered | ChunkFailed) -> list[Any]:
    assert isinstance(message, Answered), message
    return [msgpack.unpackb(packed) for packed in message.responses]


def hashes(requests: Sequence[str]) -> list[Any]:
    return [response(RequestKind.GENERATE, request) for request in requests]


class Slow:
    """A model whose requests take long, and during whose first one a drop comes in."""

    provenance: Mapping[str, Any] = {}

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.asked: list[str] = []
        self.recovered = 0
        self._meanwhile = meanwhile

    def answer(self, chunk: OpenChunk, work: InWork) -> ChunkResponses:
        for request in chunk.requests:
            self.asked.append(request)
            self._meanwhile()
            work.generated(1)
            work.answered()
        return ChunkResponses(hashes(chunk.requests), 1, 1)

    def recover(self) -> None:
        self.recovered += 1
