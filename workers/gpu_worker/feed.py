"""An engine child, seen from its supervisor: load it, feed it chunks, store its answers, name its failures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar, assert_never
from uuid import UUID

from app.backends import BACKENDS
from app.db.outages import patiently
from app.domain.chunk import Chunk, Room, after_failure
from app.domain.device_faults import blames_device
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.lease import Lease, Order
from app.domain.replica import Replica
from app.errors import ChunkLostError, DatabaseUnreachableError, LeaseLostError
from app.services.serving import Answer, ServingService, Work
from app.settings import Settings
from workers.chunk_frames import divided, to_be_answered
from workers.gpu_worker.backlog import AHEAD_SECONDS, Hand, Speed
from workers.gpu_worker.engine_log import EngineLog
from workers.gpu_worker.headway import HeadwayLog
from workers.protocol.channel import Channel
from workers.protocol.engine import (
    FROM_ENGINE,
    Answered,
    ChunkFailed,
    Died,
    EngineRecipe,
    FromEngine,
    Load,
    Loaded,
    LoadFailed,
    Progressed,
    Raised,
    ToEngine,
    Warned,
)
from workers.supervision.child import Child
from workers.supervision.failures import classify, outgrown, with_log
from workers.supervision.heartbeat import Heartbeat
from workers.supervision.log_tail import LogTail
from workers.supervision.oom import oom_kills

CLAIM_SECONDS = 2.0
"""Work claimed at once, by the replica's measured speed: short, so that replicas end together."""

CLAIM_MOST = 64
STOP_GRACE_SECONDS = 5.0

TOOK_WORKERS_ALONG = Failure(
    FailureCode.LOST,
    "worker after worker was lost while its engine answered this",
    hint="see the workers' logs and their hosts' memory",
)

T = TypeVar("T")

log = logging.getLogger(__name__)


def _recipe(engine: EngineSpec) -> EngineRecipe:
    return EngineRecipe(
        engine.backend,
        engine.model,
        engine.revision,
        engine.args,
        engine.env,
        engine.tensor_parallel_size,
        engine.pipeline_parallel_size,
    )


class EngineError(Exception):
    """The engine failed as a whole: it did not start, died or stalled."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Engine:
    """An engine child, seen from its supervisor."""

    def __init__(
        self,
        *,
        serving: ServingService,
        settings: Settings,
        stopping: threading.Event,
        lease: Lease,
        replica: Replica,
        child: Child,
        heartbeat: Heartbeat[Order],
        log_path: Path,
        device: str,
        driver: Mapping[str, str],
    ) -> None:
        self._serving = serving
        self._settings = settings
        self._stopping = stopping
        self._lease = lease
        self._replica = replica
        self._texts = BACKENDS[replica.engine.backend].texts
        self._child = child
        self._wire: Channel[ToEngine, FromEngine] = Channel(child.connection, FROM_ENGINE)
        self._heartbeat = heartbeat
        self._device = device
        self._driver = driver
        self._hand = Hand()
        self._log = EngineLog(LogTail(log_path, settings.log_bytes), self._hand, self._store_log)
        self._guilty: UUID | None = None
        """The job on whose chunk the engine ended."""
        self._speed = Speed()
        self._headway = HeadwayLog(partial(serving.advance, lease))
        self._heard_at = time.monotonic()
        self._oom_kills = oom_kills()

    def load(self) -> None:
        """Load the model; EngineError if it cannot be."""
        self._child.connection.limit_silence(self._settings.stall_seconds)
        self._send(Load(_recipe(self._replica.engine), self._device, self._settings.max_batch_size))
        while True:
            match self._receive(loading=True):
                case None:
                    if self._stopping.is_set() or self._heartbeat.reply is Order.RELEASE:
                        return
                case Loaded() as message:
                    self._loaded(message)
                    return
                case LoadFailed(error):
                    raise EngineError(self._failed(error, loading=True))
                case Warned() | Died() | Progressed() | Answered() | ChunkFailed():
                    pass
                case never:
                    assert_never(never)

    def _loaded(self, message: Loaded) -> None:
        self._log.loaded()
        provenance = {**message.provenance, **self._driver, "load_seconds": message.seconds}
        self._ask(partial(self._serving.loaded, self._lease, provenance))

    def serve(self) -> None:
        """Claim, send, store, until released; then leave at a chunk boundary."""
        answered_since_release = False
        while True:
            self._headway.write(self._hand.chunks)
            releasing = self._stopping.is_set() or not self._refill()
            if releasing and (not self._hand.claimed or answered_since_release):
                return
            match self._receive(loading=False):
                case Answered() | ChunkFailed() as message:
                    with suppress(ChunkLostError):  # told twice, or dropped meanwhile
                        self._settle(message)
                    answered_since_release = releasing
                case Warned() as message:
                    self._warn(message)
                case Progressed() as message:
                    self._headway.hear(message, self._hand.chunks)
                case None | Died() | Loaded() | LoadFailed():
                    pass
                case never:
                    assert_never(never)

    def _refill(self) -> bool:
        """Claim more work in time; False when the scheduler wants the devices back."""
        now = time.monotonic()
        if self._hand.seconds_left(self._speed, now) > AHEAD_SECONDS:
            return True
        budget = CLAIM_SECONDS * (self._speed.value or 0.0)
        work = self._claim(Room(budget, CLAIM_MOST, empty=not self._hand.claimed))
        for claimed in work.chunks:
            if claimed.chunk.outlived_too_many:
                self._set_aside(claimed.chunk)
                continue
            if not self._hand.claimed:
                self._hand.head_since = now
                self._log.begin()
            self._hand.claimed.append(claimed)
            self._send(to_be_answered(claimed.chunk))
        return work.order is not Order.RELEASE

    def _set_aside(self, chunk: Chunk) -> None:
        """Count the workers that were lost over a chunk as its failure, instead of losing this one too."""
        with suppress(ChunkLostError):
            self._give_up(chunk, TOOK_WORKERS_ALONG, interrupted=True)

    def _claim(self, room: Room) -> Work:
        """More chunks; after an outage none yet, since chunks may have been claimed whose names were lost."""
        try:
            return self._serving.next(self._lease, self._replica.engine.key, room)
        except DatabaseUnreachableError:
            in_hand = [claimed.chunk.id for claimed in self._hand.claimed]
            self._ask(lambda: self._serving.keep_only(self._lease, in_hand))
            return Work(Order.GO_ON)

    def _ask(self, call: Callable[[], T]) -> T:
        """What the database answers, waited for as long as the lease lasts."""
        return patiently(call, lambda: self._heartbeat.lost)

    def _send(self, message: ToEngine) -> None:
        with suppress(OSError):  # the engine is gone or frozen: the next look at its words says so
            self._wire.send(message)

    def _receive(self, *, loading: bool) -> FromEngine | None:
        """The next message, or None when there was none for a while; EngineError if the engine is gone or stalled."""
        self._log.look()
        try:
            message = self._wire.receive(self._settings.poll_seconds)
        except TimeoutError:
            self._check_stalled(loading=loading)
            return None
        except (OSError, ValueError):  # it was killed, or frozen for long, in the middle of a frame
            message = None
        if self._heartbeat.lost:
            raise LeaseLostError(f"the lease on replica {self._replica.id} was lost")
        if message is None:
            raise self._died(loading=loading)
        self._heard_at = time.monotonic()
        return message

    def _warn(self, message: Warned) -> None:
        warning = {"chunk": str(message.chunk), "code": message.code, "change": message.change}
        self._ask(lambda: self._serving.warn(self._lease, warning))

    def _settle(self, message: Answered | ChunkFailed) -> None:
        claimed = self._hand.claimed.popleft()
        self._hand.head_since = time.monotonic()
        if message.chunk != claimed.chunk.id:
            said = f"the engine answered chunk {message.chunk} out of turn"
            raise EngineError(Failure(FailureCode.INTERNAL, said))
        match message:
            case ChunkFailed():
                self._settle_failed(claimed.chunk, message)
            case Answered():
                self._log.end(claimed.chunk.job_id, message.log_end)
                self._speed.learn(claimed.chunk.cost, message.seconds)
                answer = Answer(message.responses, message.seconds, message.tokens)
                self._ask(lambda: self._serving.answer(self._lease, claimed, answer))
            case never:
                assert_never(never)

    def _settle_failed(self, chunk: Chunk, message: ChunkFailed) -> None:
        """Count the failure; EngineError where the engine did not survive it."""
        failure = self._failed(message.error, loading=False, job_id=chunk.job_id, log_end=message.log_end)
        death = self._death(loading=False, job_id=chunk.job_id) if message.fatal else None
        self._log.end(chunk.job_id, message.log_end)
        with suppress(ChunkLostError):
            self._give_up(chunk, failure, interrupted=blames_device(failure))
        if death is not None:
            self._guilty = chunk.job_id
            raise EngineError(death)

    def _give_up(self, chunk: Chunk, failure: Failure, *, interrupted: bool) -> None:
        counted, fate = after_failure(chunk, interrupted=interrupted)
        pieces = divided(counted, fate)
        self._ask(lambda: self._serving.chunk_failed(self._lease, counted, fate, pieces, failure))
        log.warning("replica %s: chunk %s failed (%s): %s", self._replica.id, chunk.id, fate, failure.message)

    def _failed(
        self,
        error: Raised,
        *,
        loading: bool,
        job_id: UUID | None = None,
        log_end: int | None = None,
    ) -> Failure:
        found = classify(self._texts, None, error.type, error.message, error.traceback, loading=loading)
        return self._with_log(found, job_id, log_end)

    def _died(self, *, loading: bool) -> EngineError:
        """The engine is gone: the chunk it worked on counts the interruption."""
        failure = self._death(loading=loading, job_id=self._hand.first_job)
        self._blame_head(failure, interrupted=True)
        return EngineError(failure)

    def _death(self, *, loading: bool, job_id: UUID | None) -> Failure:
        """Why the engine ended, as far as its end and its words on this job's chunk tell."""
        status = self._child.wait(STOP_GRACE_SECONDS)
        if outgrew := self._child.outgrew:
            return self._with_log(outgrown(f"the engine {outgrew}"), job_id)
        killed = oom_kills() > self._oom_kills
        found = classify(
            self._texts, status, None, None, self._log.text(), loading=loading, oom_killed=killed
        )
        return self._with_log(found, job_id)

    def _blame_head(self, failure: Failure, *, interrupted: bool) -> None:
        """Count the engine's end against the chunk it worked on, so that none ends engine after engine."""
        self._guilty = self._hand.first_job
        if self._hand.claimed and not self._heartbeat.lost:
            with suppress(ChunkLostError):
                self._give_up(self._hand.claimed.popleft().chunk, failure, interrupted=interrupted)

    def _check_stalled(self, *, loading: bool) -> None:
        patience = self._settings.stall_seconds
        if not (loading or self._hand.claimed):
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > patience:
            what = "load its model" if loading else "answer a chunk"
            hint = "see the log; a larger EVALQ_STALL_SECONDS gives slow engines more time"
            said = Failure(FailureCode.STALLED, f"the engine did not {what} in {patience:g} s", hint=hint)
            failure = self._with_log(said, self._hand.first_job)
            self._blame_head(failure, interrupted=False)
            raise EngineError(failure)

    def _with_log(self, failure: Failure, job_id: UUID | None, log_end: int | None = None) -> Failure:
        """The failure with the log's last lines; on a job's chunk both are that job's."""
        return with_log(failure, self._texts, self._log.last_lines(job_id, log_end), job_id)

    def close_log(self) -> None:
        """Store the rest of the log: the engine has ended."""
        self._log.close(self._guilty)

    def _store_log(self, text: str, job_id: UUID | None) -> None:
        self._ask(partial(self._serving.add_log, self._replica.id, text, job_id))
