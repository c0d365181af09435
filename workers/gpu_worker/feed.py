"""An engine child, fed: load it, keep it in work, store its answers, and hold its end against what it had in hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias, assert_never
from uuid import UUID

from app.backends import BACKENDS
from app.domain.chunk import after_death, after_failure
from app.domain.device_faults import blames_device, may_be_devices
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.lease import Order
from app.domain.measures import LoadMeasure, Peak
from app.errors import LeaseLostError
from app.services.serving import Answer, Claimed
from app.settings import Settings
from workers.gpu_worker.autopsy import Autopsy, EngineEnd, Patient, texts_in
from workers.gpu_worker.backlog import Backlog, Settled
from workers.gpu_worker.chunk_messages import to_be_answered
from workers.gpu_worker.endings import Ending, EngineFailed, Fenced, Released
from workers.gpu_worker.engine_line import EngineLine, Heard, Silence
from workers.gpu_worker.engine_log import EngineLog
from workers.gpu_worker.group import EngineCommand
from workers.gpu_worker.headway import HeadwayLog
from workers.gpu_worker.held import Held
from workers.protocol.engine import (
    Answered,
    ChunkFailed,
    Died,
    Drop,
    EngineRecipe,
    Load,
    Loaded,
    LoadFailed,
    Progressed,
    ScoringMode,
    Warned,
)
from workers.protocol.frames import Connection
from workers.supervision.log_tail import LogTail

LOOK_SECONDS = 1.0
"""How often chunks in hand are asked about: whether they are still wanted."""

LEAVE_SECONDS = 10.0
"""So long an engine that streams may go on with what it has in hand when its devices are wanted back."""

STOP_GRACE_SECONDS = 5.0

TOOK_WORKERS_ALONG = Failure(
    FailureCode.LOST,
    "worker after worker was lost while its engine answered this",
    hint="see the workers' logs and their hosts' memory",
)

NOBODY: frozenset[UUID] = frozenset()
"""Whom an engine works for while it loads."""

Take: TypeAlias = Callable[[Heard], Ending | None]


class EngineProcess(Patient, Protocol):
    """An engine child, as it is fed."""

    connection: Connection

    def stop(self, grace_seconds: float) -> bool:
        """End it with all its descendants."""


@dataclass(frozen=True)
class Started:
    """An engine child, what it was started with, and where it writes."""

    child: EngineProcess
    command: EngineCommand
    log_path: Path


class Feed:
    """One engine from its start to its end."""

    def __init__(self, held: Held, engine: Started, settings: Settings, stopping: threading.Event) -> None:
        self._held = held
        self._engine = engine
        self._settings = settings
        self._stopping = stopping
        self._backlog = Backlog(settings.poll_seconds)
        self._line = EngineLine(engine.child.connection, settings)
        self._log = EngineLog(LogTail(engine.log_path, settings.log_bytes), self._backlog, self._held.add_log)
        spec = held.replica.engine
        texts = BACKENDS[spec.backend].texts.of_job(texts_in(spec.to_json()))
        self._autopsy = Autopsy(engine.child, self._log, texts, settings.stall_seconds)
        self._headway = HeadwayLog(held.advance)
        self._peak = Peak()
        self._loaded = False
        self._leaving_since: float | None = None
        self._settled_since = False
        """Whether a chunk was settled after the devices were wanted back."""
        self._looked_at = 0.0
        self._ended_on: frozenset[UUID] | None = None
        """Jobs that the engine worked for when it ended by itself."""

    def run(self) -> Ending:
        """Load and serve until asked to leave, or until the engine or the lease is no more; then the engine is, too."""
        ending = _unless_lost(self._run)
        self._engine.child.stop(STOP_GRACE_SECONDS)
        return _unless_lost(partial(self._closed, ending))

    def _closed(self, ending: Ending) -> Ending:
        self._log.close(self._backlog.jobs if self._ended_on is None else self._ended_on)
        return self._fenced() if self._held.lost else ending

    def _run(self) -> Ending:
        ending = None
        self._line.tell(self._load())
        while ending is None and not self._loaded:
            ending = self._listen(self._take_loading, busy=True)
        while ending is None:
            ending = self._turn()
        return ending

    def _load(self) -> Load:
        command, settings = self._engine.command, self._settings
        return Load(
            engine=_recipe(self._held.replica.engine),
            device=command.device,
            max_batch_size=settings.max_batch_size,
            memory_bytes=command.memory_bytes,
            cache=str(settings.cache_dir),
            variables=command.block,
        )

    def _fenced(self) -> Fenced:
        return Fenced(f"the lease on replica {self._held.replica.id} was lost")

    def _listen(self, take: Take, *, busy: bool) -> Ending | None:
        self._log.look()
        heard = self._line.hear(busy=busy)
        return self._fenced() if self._held.lost else take(heard)

    def _take_loading(self, heard: Heard) -> Ending | None:
        match heard:
            case Loaded():
                self._begin(heard)
            case LoadFailed(error):
                return EngineFailed(self._autopsy.raised(error, NOBODY, loading=True))
            case Died() | Silence.GONE | Silence.STALLED:
                return EngineFailed(self._autopsy.of(heard, NOBODY, loading=True).failure)
            case Silence.QUIET:
                return Released() if self._stopping.is_set() or self._held.wanted_back else None
            case Warned() | Progressed() | Answered() | ChunkFailed():
                pass
            case _:
                assert_never(heard)
        return None

    def _begin(self, message: Loaded) -> None:
        self._log.loaded()
        self._backlog.window = message.window
        driver = self._engine.command.driver
        measured = LoadMeasure.told({**message.measured, "seconds": message.seconds})
        self._held.loaded({**message.provenance, **driver, "load_seconds": message.seconds}, measured)
        self._peak.told(measured.peak_bytes)
        self._loaded = True

    def _turn(self) -> Ending | None:
        """Claim what there is room for, let go of what nobody wants, hear the engine."""
        now = time.monotonic()
        self._headway.write(self._backlog.chunks)
        self._refill(now)
        if self._may_leave(now):
            return Released()
        self._let_go(now)
        return self._listen(self._take, busy=len(self._backlog) > 0)

    def _refill(self, now: float) -> None:
        if self._stopping.is_set() or self._held.wanted_back:
            self._leave(now)
        room = self._backlog.room(now) if self._leaving_since is None else None
        if room is None:
            return
        work = self._held.claim(room, self._backlog.ids)
        if work.order is Order.RELEASE:
            self._leave(now)
        if not work.chunks:
            self._backlog.found_nothing(now)
        for claimed in work.chunks:
            self._send(claimed, now)

    def _send(self, claimed: Claimed, now: float) -> None:
        """Send a chunk; one that workers were lost over is set aside instead of losing this one too."""
        chunk = claimed.chunk
        if chunk.outlived_too_many:
            self._held.give_up(*after_failure(chunk, interrupted=True), TOOK_WORKERS_ALONG)
            return
        self._log.before(chunk.job_id)
        self._backlog.add(claimed, now)
        self._line.tell(to_be_answered(chunk))

    def _leave(self, now: float) -> None:
        """The devices are wanted back: nothing more is claimed."""
        if self._leaving_since is None:
            self._leaving_since = now

    def _may_leave(self, now: float) -> bool:
        """At a chunk boundary; one that streams has none, and some time for what it has in hand."""
        if self._leaving_since is None:
            return False
        if self._backlog.window and len(self._backlog):
            return now - self._leaving_since >= LEAVE_SECONDS
        return self._settled_since or not len(self._backlog)

    def _let_go(self, now: float) -> None:
        """Once a second: drop chunks whose jobs have stopped, and those that were taken away."""
        if len(self._backlog) and now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            if gone := self._backlog.keep(self._held.wanted(self._backlog.ids)):
                self._line.tell(Drop(gone))

    def _take(self, heard: Heard) -> Ending | None:
        match heard:
            case Answered():
                self._answered(heard)
            case ChunkFailed():
                return self._chunk_failed(heard)
            case Warned():
                self._held.warn({"chunk": str(heard.chunk), "code": heard.code, "change": heard.change})
            case Died() | Silence.GONE | Silence.STALLED:
                return self._ended(self._autopsy.of(heard, self._backlog.writers))
            case Progressed():
                self._headway.hear(heard, self._backlog.chunks)
            case Silence.QUIET | Loaded() | LoadFailed():
                pass
            case _:
                assert_never(heard)
        return None

    def _answered(self, message: Answered) -> None:
        settled = self._backlog.settle(message.chunk, time.monotonic(), message.seconds)
        if settled is not None:  # else told twice, or dropped meanwhile
            self._log.end(message.chunk, settled.writers, message.log_end)
            self._settled_since = self._leaving_since is not None
            self._store(message, settled)

    def _store(self, message: Answered, settled: Settled) -> None:
        chunk, said = settled.claimed.chunk, len(message.responses)
        if said == len(chunk.keys):
            peak = self._peak.told(message.peak_bytes)
            answer = Answer(message.responses, settled.seconds, message.tokens, peak, message.notes)
            self._held.answer(settled.claimed, answer)
            return
        words = f"the engine gave {said} responses to {len(chunk.keys)} requests"
        failure = Failure(FailureCode.INTERNAL, words, job_id=chunk.job_id)
        self._held.give_up(*after_failure(chunk, interrupted=False), failure)

    def _chunk_failed(self, message: ChunkFailed) -> Ending | None:
        """Count the failure, and the engine's end where it did not survive it."""
        writers = self._backlog.writers
        settled = self._backlog.settle(message.chunk, time.monotonic())
        if settled is None:
            return self._ended(self._autopsy.of(Silence.GONE, writers)) if message.fatal else None
        chunk = settled.claimed.chunk
        failure = self._autopsy.raised(message.error, settled.writers, chunk=chunk, log_end=message.log_end)
        death = self._autopsy.of(Silence.GONE, settled.writers) if message.fatal else None
        self._log.end(chunk.id, settled.writers, message.log_end)
        self._settled_since = self._leaving_since is not None
        self._held.give_up(*after_failure(chunk, interrupted=blames_device(failure)), failure)
        if death is None:
            return None
        self._ended_on = frozenset({chunk.job_id})
        return EngineFailed(death.failure)

    def _ended(self, death: EngineEnd) -> EngineFailed:
        """Hold the engine's end against what it had in work, so that nothing ends engine after engine."""
        self._ended_on = self._backlog.writers
        if (alone := self._backlog.alone) is not None:
            counted = after_death(alone, killed=death.killed or may_be_devices(death.failure))
            self._held.give_up(*counted, death.failure)
            return EngineFailed(death.failure)
        suspects = () if blames_device(death.failure) else self._backlog.in_work
        return EngineFailed(death.failure, tuple(chunk.id for chunk in suspects))


def _unless_lost(part: Callable[[], Ending]) -> Ending:
    try:
        return part()
    except LeaseLostError as error:
        return Fenced(str(error))


def _recipe(engine: EngineSpec) -> EngineRecipe:
    return EngineRecipe(
        engine.backend,
        engine.model,
        engine.revision,
        engine.args,
        engine.env,
        engine.tensor_parallel_size,
        engine.pipeline_parallel_size,
        ScoringMode(engine.scoring_mode),
    )
