"""The story of one replica: claim it, start its engine, feed it chunks, store the answers, release it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import msgpack
from sqlalchemy.exc import SQLAlchemyError

from app.db.outages import is_outage, patiently
from app.domain.chunk import Chunk
from app.domain.job import Failure
from app.domain.lease import Lease, Order
from app.domain.replica import Replica, ReplicaStatus
from app.errors import ChildStartError, ChunkLostError, FailureCode, LeaseLostError
from app.services.serving import Answer, Claimed, ServingService, Work
from app.settings import Settings
from workers.devices import GroupDevices
from workers.frames import Frame, pack_requests, unpack_requests
from workers.supervision.child import Child
from workers.supervision.environment import child_environment
from workers.supervision.failures import classify
from workers.supervision.heartbeat import Heartbeat
from workers.supervision.janitor import Mark
from workers.supervision.log_tail import LogTail
from workers.supervision.oom import oom_kills

CLAIM_SECONDS = 2.0
"""Work claimed at once, by the replica's measured speed: short, so that replicas end together."""

AHEAD_SECONDS = 0.5
"""The next claim comes this long before the engine would idle."""

CLAIM_MOST = 64
STOP_GRACE_SECONDS = 5.0
LOG_BYTES = 1 << 16
TAIL_LINES = 20

T = TypeVar("T")

log = logging.getLogger(__name__)


class EngineError(Exception):
    """The engine failed as a whole: it did not start, died or stalled."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass
class Speed:
    """Tokens a second, as measured; recent chunks count more."""

    value: float | None = None

    def learn(self, cost: float, seconds: float) -> None:
        """Add a chunk to the average."""
        now = cost / max(seconds, 1e-3)
        self.value = now if self.value is None else 0.7 * self.value + 0.3 * now

    def seconds(self, cost: float) -> float | None:
        """How long this much work takes; None while nothing was measured."""
        return cost / self.value if self.value else None


@dataclass
class Hand:
    """Chunks that were sent to the engine and not answered, in order."""

    claimed: deque[Claimed] = field(default_factory=deque)
    head_since: float = field(default_factory=time.monotonic)

    @property
    def cost(self) -> float:
        """Tokens in hand."""
        return sum(item.chunk.cost for item in self.claimed)

    def seconds_left(self, speed: Speed, now: float) -> float:
        """Until the engine idles, as far as can be told; without a measurement it is busy while it has a chunk."""
        if not self.claimed:
            return 0.0
        total = speed.seconds(self.cost)
        return AHEAD_SECONDS * 2 if total is None else total - (now - self.head_since)


class ReplicaSupervisor:
    """One replica from claim to end. Every write is fenced; a lost lease kills the engine and writes no more."""

    def __init__(
        self, *, serving: ServingService, devices: GroupDevices, settings: Settings, stopping: threading.Event
    ) -> None:
        self._serving = serving
        self._devices = devices
        self._settings = settings
        self._stopping = stopping

    def run(self, replica_id: UUID, holder: str) -> None:
        """Serve until released, lost or failed. A doubled or late message finds nothing to claim."""
        claimed_at = time.monotonic()
        claim = self._serving.claim(replica_id, holder)
        if claim is None:
            return
        lease, replica = claim
        log.info("replica %s: %s on %s", replica.id, replica.engine.model, ", ".join(replica.devices))
        try:
            status, failure = self._serve(lease, replica, claimed_at)
        except LeaseLostError as error:
            log.warning("replica %s: %s", replica.id, error)
            status, failure = ReplicaStatus.LOST, Failure(FailureCode.LOST, str(error))
        except (OSError, ChildStartError) as error:
            log.exception("replica %s: its engine could not be started", replica.id)
            message = f"the engine could not be started: {error}"
            status, failure = ReplicaStatus.FAILED, Failure(FailureCode.ENGINE_START_FAILED, message)
        self._end(lease, status, failure)

    def _end(self, lease: Lease, status: ReplicaStatus, failure: Failure | None) -> None:
        """Give the devices back now, if the lease still holds: its processes are gone."""
        over_at = time.monotonic() + self._settings.lease_seconds
        with suppress(LeaseLostError):
            patiently(lambda: self._serving.end(lease, status, failure), lambda: time.monotonic() > over_at)

    def _serve(
        self, lease: Lease, replica: Replica, claimed_at: float
    ) -> tuple[ReplicaStatus, Failure | None]:
        log_path = self._settings.data_dir / "logs" / "replicas" / f"{replica.id}.log"
        command = self._devices.engine_command(replica)
        env = child_environment(os.environ, self._settings.child_env, command.env)
        with Child.start(command.argv, env=env, log_path=log_path, mark=Mark.replica(replica.id)) as child:
            heartbeat = Heartbeat(
                lambda: self._renew(lease),
                ttl=self._settings.lease,
                on_lost=child.kill,
                claimed_at=claimed_at,
                on_extended=child.live_until,
            )
            child.live_until(heartbeat.fence_at)
            heartbeat.start()
            engine = _Engine(
                supervisor=self,
                lease=lease,
                replica=replica,
                child=child,
                heartbeat=heartbeat,
                log_path=log_path,
                device=command.device,
            )
            try:
                engine.load()
                engine.serve()
            except EngineError as error:
                return ReplicaStatus.FAILED, error.failure
            finally:
                child.stop(STOP_GRACE_SECONDS)
                try:
                    engine.upload_log(ended=True)
                finally:
                    heartbeat.stop()
                if heartbeat.lost:
                    raise LeaseLostError(f"the lease on replica {replica.id} was lost")
            return ReplicaStatus.RELEASED, None

    def _renew(self, lease: Lease) -> Order | None:
        try:
            return self._serving.renew(lease)
        except LeaseLostError:
            return None

    @property
    def serving(self) -> ServingService:
        """Where answers are stored."""
        return self._serving

    @property
    def settings(self) -> Settings:
        """The operator's knobs."""
        return self._settings

    @property
    def stopping(self) -> bool:
        """Whether this worker is asked to end."""
        return self._stopping.is_set()


class _Engine:
    """An engine child, seen from its supervisor."""

    def __init__(
        self,
        *,
        supervisor: ReplicaSupervisor,
        lease: Lease,
        replica: Replica,
        child: Child,
        heartbeat: Heartbeat[Order],
        log_path: Path,
        device: str,
    ) -> None:
        self._supervisor = supervisor
        self._serving = supervisor.serving
        self._lease = lease
        self._replica = replica
        self._child = child
        self._heartbeat = heartbeat
        self._log = LogTail(log_path)
        self._device = device
        self._hand = Hand()
        self._speed = Speed()
        self._heard_at = time.monotonic()
        self._logged_at = 0.0
        self._oom_kills = oom_kills()

    def load(self) -> None:
        """Load the model; EngineError if it cannot be."""
        self._send(
            {
                "type": "load",
                "spec": self._replica.engine.to_json(),
                "device": self._device,
                "max_batch_size": self._supervisor.settings.max_batch_size,
            }
        )
        while True:
            frame = self._receive(loading=True)
            if frame is None:
                if self._supervisor.stopping or self._heartbeat.reply is Order.RELEASE:
                    return
                continue
            if frame["type"] == "loaded":
                provenance = frame["provenance"] | {"load_seconds": frame["seconds"]}
                self._ask(partial(self._serving.loaded, self._lease, provenance))
                return
            if frame["type"] == "failed":
                raise self._failed(frame["error"], loading=True)

    def serve(self) -> None:
        """Claim, send, store, until released; then leave at a chunk boundary."""
        answered_since_release = False
        while True:
            releasing = self._supervisor.stopping or not self._refill()
            if releasing and (not self._hand.claimed or answered_since_release):
                return
            frame = self._receive(loading=False)
            if frame is not None and frame["type"] in {"answered", "failed"}:
                with suppress(ChunkLostError):  # told twice, or dropped meanwhile
                    self._settle(frame)
                answered_since_release = releasing

    def _refill(self) -> bool:
        """Claim more work in time; False when the scheduler wants the devices back."""
        now = time.monotonic()
        if self._hand.seconds_left(self._speed, now) > AHEAD_SECONDS:
            return True
        budget = CLAIM_SECONDS * (self._speed.value or 0.0)
        work = self._claim(budget, idle=not self._hand.claimed)
        for claimed in work.chunks:
            if not self._hand.claimed:
                self._hand.head_since = now
            self._hand.claimed.append(claimed)
            self._send(_chunk_frame(claimed.chunk))
        return work.order is not Order.RELEASE

    def _claim(self, budget: float, *, idle: bool) -> Work:
        """More chunks; after an outage none yet, since chunks may have been claimed whose names were lost."""
        try:
            return self._serving.next(self._lease, self._replica.engine.key, budget, CLAIM_MOST, idle=idle)
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            in_hand = [claimed.chunk.id for claimed in self._hand.claimed]
            self._ask(lambda: self._serving.keep_only(self._lease, in_hand))
            return Work(Order.GO_ON)

    def _ask(self, call: Callable[[], T]) -> T:
        """What the database answers, waited for as long as the lease lasts."""
        return patiently(call, lambda: self._heartbeat.lost)

    def _send(self, frame: Frame) -> None:
        with suppress(OSError):  # the engine is gone: the next look at its frames says so
            self._child.connection.send(frame)

    def _receive(self, *, loading: bool) -> Frame | None:
        """The next frame, or None when there was none for a while; EngineError if the engine is gone or stalled."""
        self.upload_log(ended=False)
        try:
            frame = self._child.connection.receive(self._supervisor.settings.poll_seconds)
        except TimeoutError:
            self._check_stalled(loading=loading)
            return None
        except (OSError, ValueError):  # it was killed in the middle of a frame
            frame = None
        if self._heartbeat.lost:
            raise LeaseLostError(f"the lease on replica {self._replica.id} was lost")
        if frame is None:
            raise self._died(loading=loading)
        self._heard_at = time.monotonic()
        if frame["type"] == "warning":
            warning = {key: value for key, value in frame.items() if key != "type"}
            self._ask(lambda: self._serving.warn(self._lease, warning))
        return frame

    def _settle(self, frame: Frame) -> None:
        claimed = self._hand.claimed.popleft()
        self._hand.head_since = time.monotonic()
        if frame["chunk"] != str(claimed.chunk.id):
            raise EngineError(Failure("internal", f"the engine answered chunk {frame['chunk']} out of turn"))
        if frame["type"] == "answered":
            self._speed.learn(claimed.chunk.cost, frame["seconds"])
            values = [msgpack.packb(response) for response in frame["responses"]]
            tokens = frame["prompt_tokens"] + frame["generated_tokens"]
            answer = Answer(values, frame["seconds"], tokens)
            self._ask(lambda: self._serving.answer(self._lease, claimed, answer))
        else:
            failure = self._failed(frame["error"], loading=False).failure
            self._give_up(claimed.chunk, failure, interrupted=False)

    def _give_up(self, chunk: Chunk, failure: Failure, *, interrupted: bool) -> None:
        fate = self._ask(
            lambda: self._serving.chunk_failed(
                self._lease, chunk, _halves(chunk), failure, interrupted=interrupted
            )
        )
        log.warning("replica %s: chunk %s failed (%s): %s", self._replica.id, chunk.id, fate, failure.message)

    def _failed(self, error: Mapping[str, Any], *, loading: bool) -> EngineError:
        found = classify(None, error["type"], error["message"], error.get("traceback") or "", loading=loading)
        return EngineError(self._failure(found.code, found.message, found.hint))

    def _died(self, *, loading: bool) -> EngineError:
        """The engine is gone: name the cause; the chunk it worked on counts the interruption."""
        status = self._child.wait(STOP_GRACE_SECONDS)
        killed = oom_kills() > self._oom_kills
        found = classify(status, None, None, self._log.head(), loading=loading, oom_killed=killed)
        failure = self._failure(found.code, found.message, found.hint)
        if self._hand.claimed and not self._heartbeat.lost:
            with suppress(ChunkLostError):
                self._give_up(self._hand.claimed.popleft().chunk, failure, interrupted=True)
        return EngineError(failure)

    def _check_stalled(self, *, loading: bool) -> None:
        patience = self._supervisor.settings.stall_seconds
        if not (loading or self._hand.claimed):
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > patience:
            what = "load its model" if loading else "answer a chunk"
            hint = "see the log; a larger EVALQ_STALL_SECONDS gives slow engines more time"
            raise EngineError(self._failure("stalled", f"the engine did not {what} in {patience:g} s", hint))

    def _failure(self, code: str, message: str, hint: str | None) -> Failure:
        return Failure(code, message, hint=hint, log_tail=tuple(self._log.tail(TAIL_LINES)))

    def upload_log(self, *, ended: bool) -> None:
        """Bring the child's new lines to Postgres, at most once a second."""
        now = time.monotonic()
        if not ended and now - self._logged_at < 1.0:
            return
        self._logged_at = now
        while text := self._log.read_new(LOG_BYTES, ended=ended):
            self._ask(partial(self._serving.add_log, self._replica.id, text))


def _chunk_frame(chunk: Chunk) -> Frame:
    return {
        "type": "chunk",
        "id": str(chunk.id),
        "kind": chunk.kind,
        "batch_size": chunk.batch_size,
        "gen_kwargs": chunk.gen_kwargs,
        "seed": chunk.seed,
        "payload": chunk.payload,
    }


def _halves(chunk: Chunk) -> list[Chunk]:
    """The chunk as two, to find the request that cannot be answered; ids are given when they are stored."""
    requests = unpack_requests(chunk.payload)
    middle = len(requests) // 2
    if not middle:
        return []
    share = middle / len(requests)
    return [
        _part(chunk, requests[:middle], chunk.keys[:middle], chunk.cost * share),
        _part(chunk, requests[middle:], chunk.keys[middle:], chunk.cost * (1 - share)),
    ]


def _part(chunk: Chunk, requests: list[Any], keys: tuple[bytes, ...], cost: float) -> Chunk:
    return Chunk(
        id=chunk.id,
        job_id=chunk.job_id,
        position=chunk.position,
        kind=chunk.kind,
        batch_size=chunk.batch_size,
        gen_kwargs=chunk.gen_kwargs,
        seed=chunk.seed,
        cost=cost,
        keys=keys,
        payload=pack_requests(requests),
    )
