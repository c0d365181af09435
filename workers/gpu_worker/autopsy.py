"""Why an engine or a chunk of it failed, in words that each job may read: never with another job's lines."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, assert_never
from uuid import UUID

from app.backends.signatures import DEATH, FailureTexts
from app.domain.chunk import Chunk
from app.domain.failure import Failure, FailureCode
from workers.gpu_worker.engine_line import Silence
from workers.gpu_worker.engine_log import EngineLog
from workers.protocol.engine import Died, Raised
from workers.supervision.failures import classify, outgrown, with_log
from workers.supervision.oom import oom_kills

EndSign: TypeAlias = Died | Literal[Silence.GONE, Silence.STALLED]

END_SECONDS = 5.0
"""How long the end of a child is waited for whose line is cut."""

FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM})
"""Exit statuses of a process that somebody ended: the kernel, an operator, another's cleaning up."""


class Patient(Protocol):
    """A child process, as far as its end is looked at."""

    @property
    def outgrew(self) -> str | None:
        """Which of its bounds it passed and was ended for, in words."""

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Its exit status once it has ended, or None when the time is over."""


@dataclass(frozen=True)
class EngineEnd:
    """The end of an engine."""

    failure: Failure
    killed: bool = False
    """From outside: it says little of what the engine was asked."""


def texts_in(value: Any) -> Iterator[str]:
    """Every text that a JSON value holds, names included."""
    match value:
        case str():
            yield value
        case Mapping():
            for name, below in value.items():
                yield from (name, *texts_in(below))
        case list() | tuple():
            for below in value:
                yield from texts_in(below)


class Autopsy:
    """Names failures of one engine. `writers` are the jobs that it may have worked for: none while it loads."""

    def __init__(self, child: Patient, log: EngineLog, texts: FailureTexts, stall_seconds: float) -> None:
        self._child = child
        self._log = log
        self._texts = texts
        self._stall_seconds = stall_seconds
        self._oom_kills = oom_kills()

    def raised(
        self,
        error: Raised,
        writers: Set[UUID],
        *,
        loading: bool = False,
        chunk: Chunk | None = None,
        log_end: int | None = None,
    ) -> Failure:
        """What the child says that it caught, on a chunk or while it loaded."""
        texts = self._texts.of_job(texts_in(chunk.gen_kwargs)) if chunk else self._texts
        hidden = loading and texts.opaque.search(error.message)
        log = self._log.text() if hidden else error.traceback
        found = classify(texts, None, error.type, error.message, log, loading=loading)
        return with_log(found, texts, self._log.last_lines(writers, log_end), chunk.job_id if chunk else None)

    def of(self, end: EndSign, writers: Set[UUID], *, loading: bool = False) -> EngineEnd:
        """Why the engine is given up: it is gone, silent for too long, or says that a process of its own has ended."""
        match end:
            case Died(process, exit_code):
                said_why = "" if exit_code == -signal.SIGKILL else self._log.text()
                found = self._of(exit_code, writers, said_why, loading=loading)
                said = _named(process, exit_code, found.message)
                return EngineEnd(replace(found, message=said), exit_code in FROM_OUTSIDE)
            case Silence.STALLED:
                return EngineEnd(self._with_log(self._stalled(loading=loading), writers))
            case Silence.GONE:
                return self._gone(writers, loading=loading)
            case _:
                assert_never(end)

    def _gone(self, writers: Set[UUID], *, loading: bool) -> EngineEnd:
        status = self._child.wait(END_SECONDS)
        if outgrew := self._child.outgrew:
            return EngineEnd(self._with_log(outgrown(f"the engine {outgrew}"), writers))
        found = self._of(status, writers, self._log.text(), loading=loading)
        return EngineEnd(found, status in FROM_OUTSIDE)

    def _stalled(self, *, loading: bool) -> Failure:
        what = "load its model" if loading else "answer a chunk"
        hint = "see the log; a larger EVALQ_STALL_SECONDS gives slow engines more time"
        said = f"the engine did not {what} in {self._stall_seconds:g} s"
        return Failure(FailureCode.STALLED, said, hint=hint)

    def _of(self, status: int | None, writers: Set[UUID], log_text: str, *, loading: bool) -> Failure:
        """What the log says of an end; of a process that was killed it has only what others made of that."""
        killed = oom_kills() > self._oom_kills
        found = classify(self._texts, status, None, None, log_text, loading=loading, oom_killed=killed)
        return self._with_log(found, writers)

    def _with_log(self, failure: Failure, writers: Set[UUID]) -> Failure:
        """With the log's last lines, on a job's chunk as that job's; of several jobs nobody is quoted."""
        if len(writers) > 1:
            return replace(failure, message="the engine ended with requests of several jobs in hand")
        job_id = next(iter(writers)) if len(writers) == 1 else None
        return with_log(failure, self._texts, self._log.last_lines(writers), job_id)


def _named(process: str, exit_code: int | None, message: str) -> str:
    """A message that says which process it was that ended, and how."""
    if exit_code is not None and DEATH.search(message):
        return f"{process} died unexpectedly (exit code: {exit_code})"
    return message if process in message else f"{process}: {message}"
