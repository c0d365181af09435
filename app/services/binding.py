"""Which backend serves a job, decided again when workers with another one have come."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from app.db.engine_measures import EngineMeasureRepository
from app.db.events import EventRepository
from app.db.groups import GroupRepository
from app.db.job_leases import JobLeaseRepository
from app.db.jobs import JobRepository
from app.db.session import Sessions
from app.domain.group import GroupView
from app.domain.job import Job
from app.domain.lease import Lease
from app.domain.measures import Measured
from app.services.remedies import begin_anew
from app.workloads.lm_eval.reading.read import Submission


class BindingService:
    """One transaction per method; `wake` tells readers after the commit."""

    def __init__(self, *, sessions: Sessions, wake: Callable[[UUID], None]) -> None:
        self._sessions = sessions
        self._wake = wake

    def groups(self) -> list[GroupView]:
        """Where engines could run."""
        with self._sessions.begin() as session:
            return GroupRepository(session).views()

    def recall(self, name: str) -> list[Measured]:
        """What engines of this name measured."""
        with self._sessions.begin() as session:
            return EngineMeasureRepository(session).recall(name)

    def rebind(self, lease: Lease, submission: Submission) -> Job:
        """Go on with another backend, from the start: what was cut or scored for the one before is forgotten."""
        reason = f"{submission.engine.backend} serves it now: no worker has what it was planned for"
        with self._sessions.begin() as session:
            leases = JobLeaseRepository(session)
            leases.write(
                lease,
                engine=submission.engine.to_json(),
                engine_key=submission.engine.key,
                plan=submission.plan.to_json(),
            )
            EventRepository(session).append(lease.id, "job.retrying", {"reason": reason})
            begin_anew(session, lease, f"{submission.engine.backend} serves it now")
            job = JobRepository(session).get(lease.id)
        self._wake(lease.id)
        return job
