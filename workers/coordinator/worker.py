"""The story of one job: claim it, start its harness child, relay requests and responses, finish it."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from app.db.outages import patiently
from app.domain.deaths import Death, Deaths, Verdict
from app.domain.failure import Failure, FailureCode
from app.domain.job import Job
from app.domain.lease import Lease, Order
from app.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DatabaseUnreachableError,
    LeaseLostError,
)
from app.services.coordination import CoordinationService
from app.settings import Settings
from workers.coordinator.harness_server import HarnessServer
from workers.coordinator.relay import TAIL_LINES, EngineChangedError, HarnessDiedError, JobEndedError, Story
from workers.protocol.frames import Connection
from workers.supervision.child_bounds import harness_bounds
from workers.supervision.environment import child_environment
from workers.supervision.heartbeat import Heartbeat
from workers.supervision.log_tail import LogTail

OUTAGES = 20
"""How often in one attempt the database may fail under a job before the job itself is suspected."""

LOOK_SECONDS = 5.0
"""Between two looks at the fork server."""

log = logging.getLogger(__name__)


class ChildDiedError(Exception):
    """A harness child of a job died."""

    def __init__(self, death: Death) -> None:
        super().__init__(death.words)
        self.death = death


@dataclass(frozen=True)
class _Attempt:
    """A job in this coordinator's hands."""

    lease: Lease
    log_path: Path
    log: LogTail
    """Of all its harness children: what one of them wrote is read once."""
    lost: threading.Event
    given_up: dict[str, Failure] = field(default_factory=dict)
    """Tasks that ended harness children, each with its failure."""


class Coordinator:
    """Runs jobs, each with a harness child of its own, forked from one preloaded server."""

    def __init__(
        self, *, coordination: CoordinationService, settings: Settings, stopping: threading.Event
    ) -> None:
        self._coordination = coordination
        self._settings = settings
        self._stopping = stopping
        logs = settings.data_dir / "logs" / "jobs"
        self._server = HarnessServer(
            env=child_environment(os.environ, settings.child_env),
            bounds=harness_bounds(settings),
            log_path=logs / "server.log",
        )
        self._over = threading.Event()

    def start(self) -> None:
        """Start the fork server, so that the first job does not wait for it."""
        self._server.start()
        threading.Thread(target=self._watch_server, name="fork-server-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop the fork server and what it forked."""
        self._over.set()
        self._server.stop()

    def _watch_server(self) -> None:
        """A fork server that is frozen would never say that one of its children died."""
        while not self._over.wait(LOOK_SECONDS):
            try:
                self._server.look()
            except OSError as error:
                log.warning("the fork server could not be started: %s", error)

    def run(self, rung_for: UUID, holder: str) -> None:
        """Bring the first job in line to its end. A doubled or late message finds nothing to claim."""
        if self._stopping.is_set():
            return
        claimed_at = time.monotonic()
        claim = self._coordination.claim(rung_for, holder)
        if claim is None:
            return
        lease, job = claim
        try:
            self._evaluate(lease, job, claimed_at)
        except LeaseLostError as error:
            log.warning("job %s: %s", job.id, error)
        except DatabaseUnreachableError as error:
            log.warning("job %s waits for its lease to end: %s", job.id, error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            self._coordination.fail(lease, Failure(FailureCode.INTERNAL, _told(error)))

    def _evaluate(self, lease: Lease, job: Job, claimed_at: float) -> None:
        log_path = self._settings.data_dir / "logs" / "jobs" / f"{job.id}-{job.attempt}.log"
        lost = threading.Event()
        heartbeat = Heartbeat(
            lambda: self._renew(lease), ttl=self._settings.lease, on_lost=lost.set, claimed_at=claimed_at
        )
        heartbeat.start()
        try:
            log_tail = LogTail(log_path, self._settings.log_bytes)
            self._run_children(_Attempt(lease, log_path, log_tail, lost), job)
        except JobEndedError:
            return
        finally:
            heartbeat.stop()

    def _run_children(self, attempt: _Attempt, job: Job) -> NoReturn:
        """A harness child that dies is started again; what was answered is found in the store."""
        deaths = Deaths()
        while True:
            try:
                self._tell(attempt, job)
            except EngineChangedError as error:
                job = error.job
            except ChildDiedError as error:
                deaths, verdict = deaths.after(error.death)
                self._after_death(attempt, error.death, verdict)
                job = self._coordination.held(attempt.lease)

    def _after_death(self, attempt: _Attempt, death: Death, verdict: Verdict) -> None:
        """Tell of it, and of the task that is given up; JobEndedError where the job is."""
        lease, again = attempt.lease, "starting it again"
        failure = replace(death.failure, log_tail=tuple(attempt.log.tail(TAIL_LINES)))
        if verdict is Verdict.GIVE_UP:
            self._coordination.fail(lease, failure)
            raise JobEndedError
        if verdict is Verdict.WITHOUT_THE_TASK and death.task:
            self._coordination.task_failed(lease, death.task, failure)
            attempt.given_up[death.task] = failure
            again = f"starting it again without task {death.task}"
        self._coordination.warn(lease, {"reason": f"{death.words}; {again}"}, "job.retrying")

    def _tell(self, attempt: _Attempt, job: Job) -> None:
        """Tell the job's story; where the database fails on the way, from the beginning, with what is stored."""
        for left in reversed(range(OUTAGES)):
            try:
                self._tell_once(attempt, job)
            except DatabaseError as error:
                if not left:
                    raise ChildDiedError(Death("the database fails whenever this job runs")) from error
                if not isinstance(error, DatabaseUnreachableError):
                    raise
                log.warning("job %s: the database failed under it: %s", job.id, error)
                job = patiently(lambda: self._coordination.held(attempt.lease), attempt.lost.is_set)

    def _tell_once(self, attempt: _Attempt, job: Job) -> None:
        connection = self._server.spawn(str(job.id), attempt.log_path)
        try:
            story = Story(
                coordination=self._coordination,
                settings=self._settings,
                lease=attempt.lease,
                job=job,
                connection=connection,
                log_tail=attempt.log,
                given_up=attempt.given_up,
            )
            story.run(attempt.lost, self._stopping)
        except HarnessDiedError as error:
            raise ChildDiedError(self._death(error, story, connection)) from error
        finally:
            connection.close()

    def _death(self, error: HarnessDiedError, story: Story, connection: Connection) -> Death:
        if error.status is None and self._server.died_under(connection):
            words = "the fork server died, and the harness child with it"
            return Death(words, story.task, answered=story.answered, shared=True)
        outgrew = error.outgrew is not None
        return Death(str(error), story.task, error.status, answered=story.answered, outgrew=outgrew)

    def _renew(self, lease: Lease) -> Order | None:
        try:
            return self._coordination.renew(lease)
        except LeaseLostError:
            return None


def _told(error: Exception) -> str:
    """What users hear of an error that nobody expected."""
    if isinstance(error, DatabaseRefusedError):
        return f"{error}; the coordinator's log has the details"
    return f"{type(error).__name__}: {error}"
