"""Jobs that wait for capacity: planned again when what there is has changed, and let into the line when it has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.db.engine_measures import EngineMeasureRepository
from app.db.events import EventRepository
from app.db.groups import GroupRepository
from app.db.job_leases import JobLeaseRepository
from app.db.jobs import JobRepository
from app.db.session import Sessions
from app.db.waiting_jobs import WaitingJobRepository
from app.domain.engine_spec import EngineSpec
from app.domain.group import Capacity, capacity
from app.domain.job import Job, JobStatus, waiting
from app.domain.lease import Lease
from app.domain.measures import Measured
from app.domain.plan import Plan
from app.services.jobs import utc_now

GONE_AFTER = timedelta(minutes=15)
COME = "what it waited for is there"


@dataclass(frozen=True)
class Again:
    """A waiting job as it is planned for what there is."""

    engine: EngineSpec
    plan: Plan
    waits_for: str | None
    """Still; None: it is in line."""


class WaitingService:
    """One transaction per method; `wake` tells readers after the commit."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        wake: Callable[[UUID], None],
        gone_after: timedelta = GONE_AFTER,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._sessions = sessions
        self._wake = wake
        self._gone_after = gone_after
        self._now = now

    def capacity(self) -> Capacity:
        """Where engines could run."""
        with self._sessions.begin() as session:
            groups = GroupRepository(session).views()
        return capacity(groups, self._now(), self._gone_after)

    def jobs(self) -> list[UUID]:
        """Those that wait for capacity, in the order they are served."""
        with self._sessions.begin() as session:
            return WaitingJobRepository(session).ids()

    def job(self, job_id: UUID) -> Job:
        """The job as it is now; UnknownJobError."""
        with self._sessions.begin() as session:
            return JobRepository(session).get(job_id)

    def recall(self, name: str) -> Sequence[Measured]:
        """What engines of this name measured."""
        with self._sessions.begin() as session:
            return EngineMeasureRepository(session).recall(name)

    def plan_again(self, job_id: UUID, again: Again) -> bool:
        """Go on as planned for what there is now: in line, or waiting for what is still lacking. Safe to repeat.

        False where the job does not wait any more.
        """
        with self._sessions.begin() as session:
            jobs = WaitingJobRepository(session)
            if not jobs.plan_again(job_id, again.engine, again.plan, again.waits_for):
                return False
            if again.waits_for is None:
                EventRepository(session).append(job_id, "job.queued", {"reason": COME})
        self._wake(job_id)
        return True

    def wait_again(self, lease: Lease, waits_for: str) -> None:
        """Put a job back to those that wait, with every answer: what it was planned for is gone. LeaseLostError."""
        reason = waiting(waits_for)
        with self._sessions.begin() as session:
            leases = JobLeaseRepository(session)
            leases.write(lease, waits_for=waits_for)
            leases.let_go(lease, JobStatus.QUEUED, reason)
            EventRepository(session).append(lease.id, "job.queued", {"reason": reason})
        self._wake(lease.id)
