"""An engine at work: it is given all that came in, works for a moment, and what came of it is told."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import assert_never
from uuid import UUID

from workers.engine_child.contract import Done, Engine, OpenChunk, Outcome, Unanswered
from workers.engine_child.telling import Telling
from workers.protocol.engine import (
    AnswerChunk,
    Answered,
    ChunkFailed,
    Drop,
    FromEngine,
    ImportBackend,
    Load,
    Raised,
    ToEngine,
)
from workers.protocol.payload import pack_note, pack_response

STDERR = 2

log = logging.getLogger("engine")


class Loop:
    """Keeps an engine at work; waits for messages only while nothing is in its hands."""

    def __init__(
        self,
        engine: Engine,
        inbox: SimpleQueue[ToEngine],
        say: Callable[[FromEngine], None],
        telling: Telling,
    ) -> None:
        self._engine = engine
        self._inbox = inbox
        self._say = say
        self._telling = telling
        self._hand: set[UUID] = set()

    def run(self) -> None:
        """Work until the engine can go on no more; raises what it raised."""
        while self.once():
            pass

    def once(self) -> bool:
        """Take every message there is, and work for a moment; False if the engine did not survive it."""
        if not self._hand:
            self._take(self._inbox.get())
        self._hear()
        outcomes = self._engine.step(self._hear) if self._hand else ()
        lives = [self._settle(outcome) for outcome in outcomes]
        return all(lives)

    def _hear(self) -> None:
        while not self._inbox.empty():
            self._take(self._inbox.get())

    def _take(self, message: ToEngine) -> None:
        match message:
            case AnswerChunk():
                self._add(message)
            case Drop(chunks):
                self._engine.drop(self._hand.intersection(chunks))
                for chunk in chunks:
                    self._let_go(chunk)
            case ImportBackend() | Load():
                raise ValueError("an engine is loaded once")
            case never:
                assert_never(never)

    def _add(self, message: AnswerChunk) -> None:
        self._hand.add(message.chunk)
        try:
            self._engine.add(OpenChunk.of(message))
        except Exception as error:
            log.exception("chunk %s is refused", message.chunk)
            self._settle(Unanswered(message.chunk, error))

    def _let_go(self, chunk: UUID) -> None:
        self._hand.discard(chunk)
        self._telling.over(chunk)

    def _settle(self, outcome: Outcome) -> bool:
        """Tell how a chunk ended, unless it was dropped; whether the engine lives."""
        if outcome.chunk not in self._hand:
            return True
        self._let_go(outcome.chunk)
        match outcome:
            case Done(chunk, responses, seconds):
                packed = tuple(map(pack_response, responses.values))
                tokens, size, peak = responses.tokens, responses.batch_size, responses.peak_bytes
                notes = tuple(map(pack_note, responses.notes))
                self._say(Answered(chunk, packed, seconds, tokens, size, log_end(), peak, notes))
                return True
            case Unanswered(chunk, error, fatal):
                self._say(ChunkFailed(chunk, raised(error), fatal, log_end()))
                return not fatal
            case never:
                assert_never(never)


def raised(error: Exception) -> Raised:
    """An exception as it travels."""
    return Raised(_full_name(type(error)), str(error), "".join(traceback.format_exception(error)))


def log_end() -> int:
    """How far the log goes that stdout and stderr are: what is written from now on is the next chunk's."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # a model's own code may have put others there
            stream.flush()
    return os.fstat(STDERR).st_size


def _full_name(kind: type[Exception]) -> str:
    """As tracebacks name it: `torch.OutOfMemoryError`, `ValueError`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
