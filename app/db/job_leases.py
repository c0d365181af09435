"""What the coordinator that holds a job's lease writes; every statement is fenced by its token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, SQLColumnExpression, case, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.db.fence import job_held, job_lost
from app.db.job_tasks import JobTaskRepository
from app.db.line import in_line, wait_for_the_line
from app.db.tables import JobRow
from app.db.wishes import can_be_claimed
from app.domain.failure import Failure
from app.domain.job import (
    JobStatus,
    Phase,
    left_over,
)
from app.domain.lease import Lease, Order


def asked() -> tuple[SQLColumnExpression[Any], ...]:
    """What the job's user wants, as columns that make an order."""
    late = JobRow.deadline_at < func.clock_timestamp()
    return JobRow.cancel_requested_at, JobRow.pause_requested_at, late


def _order(lease: Lease, wishes: Row[datetime | None, datetime | None, bool | None] | None) -> Order:
    if wishes is None:
        raise job_lost(lease)
    return Order.of(*wishes)


class JobLeaseRepository:
    """Claim, renew, write, let go."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, lease: Lease, holder: str, ttl: timedelta) -> bool:
        """Take a queued job; False if it is not to be claimed (any more). A doubled message finds nothing."""
        done = self._session.execute(
            update(JobRow)
            .where(JobRow.id == lease.id, can_be_claimed())
            .values(
                status=JobStatus.RUNNING,
                phase=Phase.PREPARING,
                reason="preparing prompts",
                lease_token=lease.token,
                lease_holder=holder,
                lease_expires_at=func.now() + ttl,
                attempt=JobRow.attempt + 1,
                version=JobRow.version + 1,
                started_at=func.coalesce(JobRow.started_at, func.now()),
                progress_at=func.now(),
                results=None,
            )
        )
        return bool(done.rowcount)  # type: ignore[attr-defined]

    def first_in_line(self) -> UUID | None:
        """The queued job that is served next, locked; those that somebody else is writing are passed over."""
        self._session.execute(wait_for_the_line())
        queued = select(JobRow.id).where(can_be_claimed())
        first = queued.order_by(*in_line()).limit(1)
        return self._session.scalar(first.with_for_update(skip_locked=True, key_share=True))

    def renew(self, lease: Lease, ttl: timedelta) -> Order:
        """Extend the lease and say what the job's user wants; LeaseLostError."""
        row = self._session.execute(
            update(JobRow)
            .where(job_held(lease))
            .values(lease_expires_at=func.now() + ttl)
            .returning(*asked())
        ).one_or_none()
        return _order(lease, row)

    def write(self, lease: Lease, **values: Any) -> None:
        """Write columns of the job under the lease; LeaseLostError."""
        done = self._session.execute(
            update(JobRow)
            .where(job_held(lease))
            .values(version=JobRow.version + 1, **values)
            .execution_options(synchronize_session=False)
        )
        if not done.rowcount:  # type: ignore[attr-defined]
            raise job_lost(lease)

    def prepared(self, lease: Lease, fingerprint: bytes, total: int) -> bool:
        """Requests are built; True if an earlier attempt's answers go by another fingerprint: its chunks are void."""
        before = self._session.scalar(select(JobRow.fingerprint).where(JobRow.id == lease.id))
        done = func.least(JobRow.requests_done, total)
        self.write(lease, fingerprint=fingerprint, requests_total=total, requests_done=done)
        return before not in {None, fingerprint}

    def planned(self, lease: Lease, reused: int) -> None:
        """All chunks are stored; what was answered before the first plan counts as reused."""
        first = JobRow.planned_at.is_(None)
        self.write(
            lease,
            planned_at=func.coalesce(JobRow.planned_at, func.now()),
            requests_reused=case((first, reused), else_=JobRow.requests_reused),
        )

    def order(self, lease: Lease, *, lock: bool = False) -> Order:
        """What the job's user wants of the holder, until the transaction ends if locked; LeaseLostError."""
        query = select(*asked()).where(job_held(lease))
        row = self._session.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
        return _order(lease, row)

    def advance(
        self, lease: Lease, done: int, rates: dict[str, Any], gpu_seconds: float, *, moved: bool
    ) -> None:
        """How far the job is; `progress_at` moves only when engines gave something."""
        self.write(
            lease,
            requests_done=done,
            rates=rates,
            **({"progress_at": func.now()} if moved else {}),
            gpu_seconds=JobRow.gpu_seconds + gpu_seconds,
            **({"losses": 0} if gpu_seconds else {}),
        )

    def add_provenance(self, lease: Lease, more: Mapping[str, Any]) -> None:
        """Add entries to what is recorded about where the answers come from."""
        known = func.coalesce(JobRow.provenance, cast({}, JSONB))
        self.write(lease, provenance=known.concat(cast(dict(more), JSONB)))

    def let_go(self, lease: Lease, status: JobStatus, reason: str, error: Failure | None = None) -> None:
        """End the holder's work: the job moves on and nobody holds it. One that is over leaves no task open."""
        self.write(
            lease,
            status=status,
            phase=None,
            reason=reason,
            error=error.to_json() if error else None,
            ended_at=func.now() if status.terminal else None,
            lease_token=None,
            lease_expires_at=None,
            lease_holder=None,
            parked_at=None,
            due_at=None,
            parked_bytes=None,
            **({"pause_requested_at": None} if status is JobStatus.PAUSED else {}),
        )
        if status.terminal:
            JobTaskRepository(self._session).close([lease.id], left_over(status, error))

    def holders(self, prefix: str) -> list[str]:
        """Who holds running jobs, among holders whose name begins with `prefix`."""
        query = select(JobRow.lease_holder).where(
            JobRow.status == JobStatus.RUNNING, JobRow.lease_holder.startswith(prefix, autoescape=True)
        )
        return [holder for holder in self._session.scalars(query) if holder]
