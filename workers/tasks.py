"""Celery tasks: an id in, a call out. What a worker process keeps between them is its role."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from celery import Celery

from app.broker import RUN_JOB, RUN_REPLICA, CeleryDoorbell
from app.db.session import Sessions, check_schema, make_sessions
from app.services.coordination import CoordinationService
from app.services.groups import GroupService
from app.services.retention import Ages, old_log_files
from app.services.serving import ServingService
from app.settings import Settings
from app.traces import traces_of
from workers.coordinator.harness_server import harness_server
from workers.coordinator.waiting import WaitingJobs
from workers.coordinator.worker import Coordinator
from workers.gpu_worker.group import GroupDevices, GroupKeeper
from workers.gpu_worker.spares import SpareEngines
from workers.gpu_worker.worker import ReplicaSupervisor
from workers.supervision.identity import dead_holders, holder_name, holder_prefix

log = logging.getLogger(__name__)


class WorkerRole(Protocol):
    """What a worker process does, from its start to its end."""

    def begin(self) -> None:
        """Clean up after dead predecessors on this host and start what runs beside the tasks."""

    def run(self, subject: UUID) -> None:
        """Do what a message asks for."""

    def wind_down(self) -> None:
        """Leave at the next chunk boundary."""

    def end(self) -> None:
        """Stop what runs beside the tasks."""


class CoordinatorRole:
    """Runs jobs."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings = settings
        wake = CeleryDoorbell(settings).wake
        gone_after = timedelta(seconds=settings.gone_seconds)
        self._coordination = CoordinationService(
            sessions=sessions, wake=wake, ttl=settings.lease, gone_after=gone_after
        )
        self._waiting = WaitingJobs(waiting=self._coordination.waiting, settings=settings)
        self._stopping = threading.Event()
        self._traces = traces_of(settings, "coordinator")
        self._coordinator = Coordinator(
            coordination=self._coordination,
            settings=settings,
            server=harness_server(settings),
            stopping=self._stopping,
            holder=holder_name(),
            traces=self._traces,
        )

    def begin(self) -> None:
        """Jobs of dead coordinators of this host wait again at once."""
        self._coordination.release_holders(dead_holders(self._coordination.holders(holder_prefix())))
        self._coordinator.start()
        watch = partial(self._waiting.run, self._stopping)
        threading.Thread(target=watch, name="waiting-jobs", daemon=True).start()
        keep = partial(self._coordinator.parked.run, self._stopping)
        threading.Thread(target=keep, name="parked-jobs", daemon=True).start()

    def run(self, subject: UUID) -> None:
        """Run a job, if it still waits."""
        self._coordinator.run(subject)
        forget_old_logs(self._settings)

    def wind_down(self) -> None:
        """Give every job back; another coordinator goes on with it."""
        self._stopping.set()

    def end(self) -> None:
        """Stop the fork server."""
        self._coordinator.stop()
        self._traces.close()


class GpuRole:
    """Runs replicas on one group's devices."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings = settings
        self._serving = ServingService(sessions=sessions, ttl=settings.lease)
        self._groups = GroupService(sessions=sessions)
        self._devices = GroupDevices(settings)
        self._interval = min(settings.lease_seconds / 6, 5.0)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._traces = traces_of(settings, "worker")
        self._spares = SpareEngines(devices=self._devices, settings=settings)
        self._supervisor = ReplicaSupervisor(
            serving=self._serving,
            devices=self._devices,
            spares=self._spares,
            settings=settings,
            stopping=self._stopping,
            traces=self._traces,
        )

    def begin(self) -> None:
        """Replicas of dead workers of this host are lost at once, and their processes killed."""
        self._serving.release_holders(dead_holders(self._serving.holders(holder_prefix())))
        self._keeper = GroupKeeper(
            groups=self._groups,
            serving=self._serving,
            devices=self._devices,
            leaving=self._stopping,
        )
        self._keeper.beat_once()
        keep = partial(self._keeper.run, self._ended, self._interval)
        threading.Thread(target=keep, name="group-keeper", daemon=True).start()
        spare = partial(self._spares.run, self._stopping)
        threading.Thread(target=spare, name="spare-engines", daemon=True).start()

    def run(self, subject: UUID) -> None:
        """Run a replica, if it is still placed; give its devices back at once."""
        if self._stopping.is_set():
            return
        self._supervisor.run(subject, holder_name())
        self._keeper.settle()
        forget_old_logs(self._settings)

    def wind_down(self) -> None:
        """Every replica leaves at its next chunk boundary; spares go at once."""
        self._stopping.set()
        self._spares.wake()

    def end(self) -> None:
        """Stop the heartbeat."""
        self._ended.set()
        self._traces.close()


def forget_old_logs(settings: Settings) -> None:
    """Logs on this host that are older than the operator keeps; another account's are left to it."""
    age = Ages.of(settings).logs
    if age is not None:
        with suppress(OSError):
            old_log_files(settings.data_dir, age)


def with_connections_enough(settings: Settings) -> Settings:
    """A pool (it doubles at need) in which the renewal of one job's lease waits for no other job's transaction."""
    jobs = settings.coordinator_jobs if settings.worker_role == "coordinator" else 0
    return settings.model_copy(update={"database_pool": max(settings.database_pool, jobs)})


def make_role(settings: Settings) -> WorkerRole:
    """The role the settings name; refuses an old schema."""
    check_schema(settings)
    sessions = make_sessions(with_connections_enough(settings))
    if settings.worker_role == "coordinator":
        return CoordinatorRole(settings, sessions)
    return GpuRole(settings, sessions)


def register(celery: Celery, role: Callable[[], WorkerRole]) -> None:
    """Both tasks; a worker only hears those of its queue."""

    def run(subject: str) -> None:
        role().run(UUID(subject))

    for name in (RUN_JOB, RUN_REPLICA):
        celery.task(run, name=name, shared=False)
