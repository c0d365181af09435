"""One job after the other: claim it, try until it has ended, with a harness child of its own for each try."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from uuid import UUID

from app.asking import working_on
from app.db.outages import patiently
from app.domain.deaths import Death, Deaths, Verdict
from app.domain.failure import Failure, FailureCode
from app.domain.job import Job, Phase
from app.domain.lease import Lease, Order
from app.errors import DatabaseRefusedError, DatabaseUnreachableError, LeaseLostError
from app.services.coordination import CoordinationService
from app.settings import Settings
from app.traces import NoTraces, Traces
from workers.coordinator.attempt import Attempt, AttemptLog
from workers.coordinator.binding import rebound
from workers.coordinator.endings import DatabaseAway, Ended, Ending, HarnessDied, Parked
from workers.coordinator.harness_server import HarnessServer
from workers.coordinator.parked import ParkedJobs
from workers.coordinator.relay import Relay
from workers.coordinator.run_spans import RunSpans
from workers.protocol.channel import Channel
from workers.protocol.frames import Connection
from workers.protocol.harness import FROM_HARNESS
from workers.supervision.heartbeat import Heartbeat

OUTAGES = 20
"""How often in a row the database may fail under a job before the job itself is suspected."""

LOOK_SECONDS = 5.0
"""Between two looks at the fork server."""

log = logging.getLogger(__name__)


class Coordinator:
    """Runs jobs, each with harness children of its own, forked from one preloaded server."""

    def __init__(
        self,
        *,
        coordination: CoordinationService,
        settings: Settings,
        server: HarnessServer,
        stopping: threading.Event,
        holder: str,
        traces: Traces | None = None,
    ) -> None:
        self._coordination = coordination
        self._settings = settings
        self._server = server
        self._stopping = stopping
        self._holder = holder
        self._traces = traces or NoTraces()
        self._over = threading.Event()
        self._places = threading.Semaphore(settings.coordinator_jobs)
        self.parked = ParkedJobs(
            coordination=coordination, settings=settings, holder=holder, attempt_of=self._attempt_of
        )

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

    def run(self, rung_for: UUID) -> None:
        """Bring the first job in line to its end, or until it is parked. A doubled or late message finds nothing to
        claim.
        """
        with self._places:
            if not self._stopping.is_set():
                self._run(rung_for)

    def _run(self, rung_for: UUID) -> None:
        claimed_at = time.monotonic()
        claim = self._coordination.claim(rung_for, self._holder)
        if claim is None:
            return
        lease, job = claim
        with working_on("job", job.id), working_on("trace", job.trace_id):
            log.info("claimed, attempt %d", job.attempt)
            spans = RunSpans(self._traces, job)
            try:
                self._bring_to_its_end(lease, job, claimed_at, spans)
            finally:
                spans.end()
            log.info("let go")

    def _bring_to_its_end(self, lease: Lease, job: Job, claimed_at: float, spans: RunSpans) -> None:
        try:
            with self._held(lease, claimed_at) as lost:
                ending = self._evaluate(self._attempt_of(lease, job, lost, spans))
            if isinstance(ending, Parked):  # whoever keeps it may end its lease at any time
                self._keep(ending)
        except LeaseLostError as error:
            spans.failed(FailureCode.LOST)
            log.warning("%s", error)
        except DatabaseUnreachableError as error:
            spans.failed(FailureCode.LOST)
            log.warning("the job waits for its lease to end: %s", error)
        except Exception as error:
            spans.failed(FailureCode.INTERNAL)
            log.exception("the job failed")
            self._coordination.fail(lease, Failure(FailureCode.INTERNAL, _told(error)))

    @contextmanager
    def _held(self, lease: Lease, claimed_at: float) -> Iterator[threading.Event]:
        """Renew the lease meanwhile; set once it is lost."""
        lost = threading.Event()
        heartbeat = Heartbeat(
            lambda: self._renew(lease), ttl=self._settings.lease, on_lost=lost.set, claimed_at=claimed_at
        )
        heartbeat.start()
        try:
            yield lost
        finally:
            heartbeat.stop()

    def _renew(self, lease: Lease) -> Order | None:
        try:
            return self._coordination.renew(lease)
        except LeaseLostError:
            return None

    def _attempt_of(
        self,
        lease: Lease,
        job: Job,
        lost: threading.Event | None = None,
        spans: RunSpans | None = None,
    ) -> Attempt:
        """A job that is claimed prepares, unless it was parked: then its attempt goes on. A parked one has no spans."""
        name = f"{job.id}-{job.attempt}-{lease.token.hex[-8:]}.log"
        path = self._settings.data_dir / "logs" / "jobs" / name
        store = partial(self._coordination.add_log, job.id)
        known = AttemptLog(path, self._settings.log_bytes, store)
        attempt = Attempt(
            lease,
            known,
            lost or threading.Event(),
            spans or RunSpans(NoTraces(), job),
            was_parked=job.phase is not Phase.PREPARING,
        )
        if attempt.was_parked:
            attempt.given_up |= {
                task.name: task.error for task in job.tasks if task.error and task.total is None
            }
        return attempt

    def _evaluate(self, attempt: Attempt) -> Ending:
        """Try until the job has ended: a try begins anew, and finds what was answered in the store."""
        deaths, outages = Deaths(), 0
        while not isinstance(ending := self._try(attempt, self._job_now(attempt)), Ended | Parked):
            outages = outages + 1 if isinstance(ending, DatabaseAway) else 0
            if outages == OUTAGES:
                ending, outages = HarnessDied(Death("the database fails whenever this job runs")), 0
            if isinstance(ending, HarnessDied):
                deaths, verdict = deaths.after(ending.death)
                if verdict is Verdict.GIVE_UP:
                    attempt.spans.failed(ending.death.failure.code)
                    self._coordination.fail(attempt.lease, _failure(attempt, ending.death))
                    return Ended()
                self._go_on_after(attempt, ending.death, verdict)
        return ending

    def _keep(self, parked: Parked) -> None:
        self.parked.keep(parked.course)
        if self._stopping.is_set():
            self.parked.let_go()

    def _job_now(self, attempt: Attempt) -> Job:
        """The job as it is, on a backend that some worker has before its prompts are built for one that none has."""

        def look() -> Job:
            job = self._coordination.held(attempt.lease)
            return rebound(self._coordination, self._settings, attempt, job) or job

        return patiently(look, attempt.lost.is_set)

    def _go_on_after(self, attempt: Attempt, death: Death, verdict: Verdict) -> None:
        """Tell of a harness child's death, and of the task that is given up for it."""
        again = "starting it again"
        if verdict is Verdict.WITHOUT_THE_TASK and death.task:
            failure = _failure(attempt, death)
            self._coordination.task_failed(attempt.lease, death.task, failure, given_up=True)
            attempt.given_up[death.task] = failure
            again = f"starting it again without task {death.task}"
        self._coordination.warn(attempt.lease, {"reason": f"{death.words}; {again}"}, "job.retrying")

    def _try(self, attempt: Attempt, job: Job) -> Ending:
        with closing(self._server.spawn(attempt.log.path)) as connection:
            relay = Relay(
                coordination=self._coordination,
                settings=self._settings,
                attempt=attempt,
                job=job,
                harness=Channel(connection, FROM_HARNESS),
                crowded=self._is_full,
            )
            try:
                ending = relay.run(self._stopping)
            except DatabaseUnreachableError as error:
                log.warning("the database failed under the job: %s", error)
                return DatabaseAway()
            if isinstance(ending, HarnessDied):
                return HarnessDied(self._explained(ending.death, connection))
            return ending

    def _is_full(self) -> bool:
        """Whether no place is left for another job."""
        if free := self._places.acquire(blocking=False):
            self._places.release()
        return not free

    def _explained(self, death: Death, connection: Connection) -> Death:
        """Whether a child that nobody saw end went with its fork server."""
        if death.status is not None or not self._server.died_under(connection):
            return death
        return replace(death, words="the fork server died, and the harness child with it", shared=True)


def _failure(attempt: Attempt, death: Death) -> Failure:
    return replace(death.failure, log_tail=attempt.log.last_lines())


def _told(error: Exception) -> str:
    """What users hear of an error that nobody expected."""
    if isinstance(error, DatabaseRefusedError):
        return f"{error}; the coordinator's log has the details"
    return f"{type(error).__name__}: {error}"
