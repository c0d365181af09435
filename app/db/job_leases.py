"""What the coordinator that holds a job's lease writes; every statement is fenced by its token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, case, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.db.job_tasks import JobTaskRepository
from app.db.tables import JobRow
from app.domain.failure import Failure
from app.domain.job import (
    CANCELLED,
    LATE,
    LOST,
    MAX_LOSSES,
    PAUSED,
    JobStatus,
    Phase,
    left_over,
)
from app.domain.lease import Lease, Order
from app.errors import LeaseLostError


def _held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        JobRow.id == lease.id,
        JobRow.lease_token == lease.token,
        JobRow.lease_expires_at > func.now(),
        JobRow.status == JobStatus.RUNNING,
    )


_WISHES = (JobRow.cancel_requested_at, JobRow.pause_requested_at, JobRow.deadline_at < func.clock_timestamp())


def _order(lease: Lease, wishes: Row[datetime | None, datetime | None, bool] | None) -> Order:
    if wishes is None:
        raise LeaseLostError(f"the lease on job {lease.id} is lost")
    cancel, pause, late = wishes
    if cancel:
        return Order.CANCEL
    if late:
        return Order.DEADLINE
    return Order.PAUSE if pause else Order.GO_ON


class JobLeaseRepository:
    """Claim, renew, write, let go."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, lease: Lease, holder: str, ttl: timedelta) -> bool:
        """Take a queued job; False if it is not queued any more. A doubled message finds nothing."""
        done = self._session.execute(
            update(JobRow)
            .where(JobRow.id == lease.id, JobRow.status == JobStatus.QUEUED)
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
        queued = select(JobRow.id).where(JobRow.status == JobStatus.QUEUED)
        first = queued.order_by(JobRow.priority.desc(), JobRow.created_at).limit(1)
        return self._session.scalar(first.with_for_update(skip_locked=True, key_share=True))

    def renew(self, lease: Lease, ttl: timedelta) -> Order:
        """Extend the lease and say what the job's user wants; LeaseLostError."""
        row = self._session.execute(
            update(JobRow).where(_held(lease)).values(lease_expires_at=func.now() + ttl).returning(*_WISHES)
        ).one_or_none()
        return _order(lease, row)

    def write(self, lease: Lease, **values: Any) -> None:
        """Write columns of the job under the lease; LeaseLostError."""
        done = self._session.execute(
            update(JobRow)
            .where(_held(lease))
            .values(version=JobRow.version + 1, **values)
            .execution_options(synchronize_session=False)
        )
        if not done.rowcount:  # type: ignore[attr-defined]
            raise LeaseLostError(f"the lease on job {lease.id} is lost")

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
        asked = select(*_WISHES).where(_held(lease))
        row = self._session.execute(asked.with_for_update(key_share=True) if lock else asked).one_or_none()
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
            **({"pause_requested_at": None} if status is JobStatus.PAUSED else {}),
        )
        if status.terminal:
            JobTaskRepository(self._session).close([lease.id], left_over(status, error))

    def fail_late(self) -> list[UUID]:
        """End waiting jobs whose deadline has passed; returns them. A running one is ended by its holder."""
        return self._fail(LATE, JobRow.deadline_at < func.now())

    def fail_lost(self) -> list[UUID]:
        """End waiting jobs that lost one coordinator after the other; returns them."""
        return self._fail(LOST, JobRow.losses >= MAX_LOSSES)

    def cancel_asked(self) -> list[UUID]:
        """End waiting jobs that were asked to stop while a coordinator held them that did not get to it."""
        asked = JobRow.cancel_requested_at.is_not(None)
        moved = self._move(asked, status=JobStatus.CANCELLED, reason=CANCELLED, ended_at=func.now())
        JobTaskRepository(self._session).close(moved, left_over(JobStatus.CANCELLED))
        return moved

    def pause_asked(self) -> list[UUID]:
        """Put queued jobs aside, likewise."""
        asked = and_(JobRow.status == JobStatus.QUEUED, JobRow.pause_requested_at.is_not(None))
        return self._move(asked, status=JobStatus.PAUSED, reason=PAUSED, pause_requested_at=None)

    def _fail(self, error: Failure, which: ColumnElement[bool]) -> list[UUID]:
        moved = self._move(
            which,
            status=JobStatus.FAILED,
            reason=error.message,
            error=error.to_json(),
            ended_at=func.now(),
        )
        JobTaskRepository(self._session).close(moved, left_over(JobStatus.FAILED, error))
        return moved

    def _move(self, which: ColumnElement[bool], **values: Any) -> list[UUID]:
        """Move those of the waiting jobs that nobody is writing at the moment."""
        waiting = JobRow.status.in_([JobStatus.QUEUED, JobStatus.PAUSED])
        found = select(JobRow.id).where(JobRow.ended_at.is_(None), waiting, which)
        rows = self._session.scalars(
            update(JobRow)
            .where(JobRow.id.in_(found.with_for_update(skip_locked=True, key_share=True)))
            .values(version=JobRow.version + 1, **values)
            .returning(JobRow.id)
        )
        return list(rows)

    def requeue_expired(self, reason: str, held_by: Sequence[str] | None = None) -> list[UUID]:
        """Running jobs whose lease is over, or else those of holders known dead, wait again; returns them."""
        over = JobRow.lease_expires_at < func.now() if held_by is None else JobRow.lease_holder.in_(held_by)
        found = select(JobRow.id).where(JobRow.status == JobStatus.RUNNING, over)
        rows = self._session.scalars(
            update(JobRow)
            .where(JobRow.id.in_(found.with_for_update(skip_locked=True, key_share=True)))
            .values(
                status=JobStatus.QUEUED,
                phase=None,
                reason=reason,
                version=JobRow.version + 1,
                losses=JobRow.losses + 1,
                lease_token=None,
                lease_expires_at=None,
                lease_holder=None,
                sent_at=None,
            )
            .returning(JobRow.id)
        )
        return list(rows)

    def holders(self, prefix: str) -> list[str]:
        """Who holds running jobs, among holders whose name begins with `prefix`."""
        query = select(JobRow.lease_holder).where(
            JobRow.status == JobStatus.RUNNING, JobRow.lease_holder.startswith(prefix, autoescape=True)
        )
        return [holder for holder in self._session.scalars(query) if holder]


def deadline(created_at: datetime, seconds: float | None) -> datetime | None:
    """When a job that must end within `seconds` of its creation is late."""
    return created_at + timedelta(seconds=seconds) if seconds else None
