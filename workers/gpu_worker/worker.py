"""The story of one replica: claim it, start its engine, feed it chunks, store the answers, release it."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import assert_never
from uuid import UUID

from app.asking import working_on
from app.db.outages import patiently
from app.domain.failure import Failure, FailureCode
from app.domain.lease import Lease, Order
from app.domain.replica import Replica, ReplicaStatus
from app.errors import ChildStartError, DatabaseError, GpuUnavailableError, LeaseLostError
from app.services.serving import ServingService
from app.settings import Settings
from app.traces import NoTraces, Traces
from workers.gpu_worker.endings import Ending, EngineFailed, Fenced, Released
from workers.gpu_worker.feed import Feed, Started
from workers.gpu_worker.group import EngineCommand, GroupDevices
from workers.gpu_worker.held import Held
from workers.gpu_worker.replica_spans import ReplicaSpans
from workers.gpu_worker.spare import Spare
from workers.gpu_worker.spares import SpareEngines
from workers.supervision.child import Child
from workers.supervision.child_bounds import engine_bounds
from workers.supervision.environment import child_environment
from workers.supervision.heartbeat import Heartbeat
from workers.supervision.janitor import Mark

log = logging.getLogger(__name__)


class ReplicaSupervisor:
    """One replica from claim to end. Every write is fenced; a lost lease kills the engine and writes no more."""

    def __init__(
        self,
        *,
        serving: ServingService,
        devices: GroupDevices,
        spares: SpareEngines,
        settings: Settings,
        stopping: threading.Event,
        traces: Traces | None = None,
    ) -> None:
        self._serving = serving
        self._traces = traces or NoTraces()
        self._devices = devices
        self._spares = spares
        self._settings = settings
        self._stopping = stopping

    def run(self, replica_id: UUID, holder: str) -> None:
        """Serve until released, lost or failed. A doubled or late message finds nothing to claim."""
        claimed_at = time.monotonic()
        claim = self._serving.claim(replica_id, holder)
        if claim is None:
            return
        lease, replica = claim
        with working_on("replica", replica.id):
            log.info("claimed: %s on %s", replica.engine.model, ", ".join(replica.devices))
            self._end(lease, self._traced(lease, replica, claimed_at))
            log.info("ended")

    def _traced(self, lease: Lease, replica: Replica, claimed_at: float) -> Ending:
        spans = ReplicaSpans(self._traces, replica)
        failure: str | None = FailureCode.INTERNAL
        try:
            ending = self._served(lease, replica, claimed_at, spans)
            failure = _failure_code(ending)
        finally:
            spans.end(failure)
        return ending

    def _served(self, lease: Lease, replica: Replica, claimed_at: float, spans: ReplicaSpans) -> Ending:
        self._spares.begins(replica)
        try:
            return self._serve(lease, replica, claimed_at, spans)
        except LeaseLostError as error:
            return Fenced(str(error))
        except (OSError, ChildStartError, GpuUnavailableError) as error:
            log.exception("the engine could not be started")
            message = f"the engine could not be started: {error}"
            return EngineFailed(Failure(FailureCode.ENGINE_START_FAILED, message))
        finally:
            self._spares.ended(replica.id)

    def _serve(self, lease: Lease, replica: Replica, claimed_at: float, spans: ReplicaSpans) -> Ending:
        log_path = self._settings.data_dir / "logs" / "replicas" / f"{replica.id}.log"
        command = self._devices.engine_command(replica)
        with self._child(lease, replica, command, log_path) as child:
            heartbeat = Heartbeat(
                lambda: self._renew(lease),
                ttl=self._settings.lease,
                on_lost=child.kill,
                claimed_at=claimed_at,
                on_extended=child.live_until,
            )
            child.live_until(heartbeat.fence_at)
            heartbeat.start()
            loaded = partial(self._spares.loaded, replica.id)
            held = Held(replica, lease, self._serving, heartbeat, spans, on_loaded=loaded)
            try:
                return Feed(held, Started(child, command, log_path), self._settings, self._stopping).run()
            finally:
                heartbeat.stop()

    def _child(self, lease: Lease, replica: Replica, command: EngineCommand, log_path: Path) -> Child:
        """A spare that suits, or a child that is started for it."""
        spare = self._spares.take(replica, command)
        if spare is not None and self._is_noted(lease, spare):
            log.info("spare %s is its engine", spare.id)
            spare.write_to(log_path)
            return spare.child
        env = child_environment(os.environ, self._settings.child_env, command.env)
        bounds, mark = engine_bounds(self._settings), Mark.replica(replica.id)
        return Child.start(command.argv, env=env, log_path=log_path, mark=mark, bounds=bounds)

    def _is_noted(self, lease: Lease, spare: Spare) -> bool:
        """Whether the database knows whose it is: before it touches a device. One of which it does not is ended."""
        try:
            self._serving.take_spare(lease, spare.id)
        except DatabaseError as error:
            log.warning("no use is made of spare %s: %s", spare.id, error.details)
            spare.end()
            return False
        except BaseException:
            spare.end()
            raise
        return True

    def _renew(self, lease: Lease) -> Order | None:
        try:
            return self._serving.renew(lease)
        except LeaseLostError:
            return None

    def _end(self, lease: Lease, ending: Ending) -> None:
        """Give the devices back now, if the lease still holds: its processes are gone."""
        match ending:
            case Released():
                end = partial(self._serving.end, lease, ReplicaStatus.RELEASED)
            case EngineFailed(failure, suspects):
                end = partial(self._serving.end, lease, ReplicaStatus.FAILED, failure, suspects)
            case Fenced(reason):
                log.warning("%s", reason)
                lost = Failure(FailureCode.LOST, reason)
                end = partial(self._serving.end, lease, ReplicaStatus.LOST, lost)
            case _:
                assert_never(ending)
        over_at = time.monotonic() + self._settings.lease_seconds
        with suppress(LeaseLostError):
            patiently(end, lambda: time.monotonic() > over_at)


def _failure_code(ending: Ending) -> str | None:
    match ending:
        case Released():
            return None
        case EngineFailed(failure):
            return failure.code
        case Fenced():
            return FailureCode.LOST
        case _:
            assert_never(ending)
