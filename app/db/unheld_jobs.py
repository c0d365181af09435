"""What the scheduler does to jobs that nobody holds: those that wait, and those whose lease is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.job_tasks import JobTaskRepository
from app.db.line import in_line
from app.db.tables import JobRow
from app.db.wishes import can_be_claimed, is_parked
from app.domain.failure import Failure
from app.domain.job import CANCELLED, LATE, LOST, MAX_LOSSES, PAUSED, JobStatus, left_over

NOT_PARKED = {"phase": None, "parked_at": None, "due_at": None, "parked_bytes": None}


@dataclass(frozen=True)
class Stirs:
    """Whether any job that has not ended may be one of these."""

    expired: bool
    """Its lease is over."""
    cancelled: bool
    paused: bool
    """It was asked to stop."""
    late: bool
    lost: bool


class UnheldJobRepository:
    """Announces, requeues, ends; a job that somebody else is writing is left for the next turn."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def none_goes_on(self) -> bool:
        """Whether every job has ended."""
        return not self._session.scalar(select(exists().where(JobRow.ended_at.is_(None))))

    def stirs(self) -> Stirs:
        """What there may be to do, found in one look at the jobs: thousands may wait, of which mostly none stirs."""
        over = JobRow.lease_expires_at < func.now()
        cases = (
            and_(JobRow.status == JobStatus.RUNNING, over),
            JobRow.cancel_requested_at.is_not(None),
            JobRow.pause_requested_at.is_not(None),
            _is_late(),
            _is_lost(),
        )
        query = select(*(func.bool_or(case) for case in cases)).where(JobRow.ended_at.is_(None))
        return Stirs(*map(bool, self._session.execute(query).one()))

    def announce(self, resend_after: timedelta, among: int) -> list[UUID]:
        """Of the first `among` queued jobs, mark as sent those not announced lately; returns them."""
        first = select(JobRow.id).where(can_be_claimed())
        first = first.order_by(*in_line()).limit(among)
        first = first.with_for_update(skip_locked=True, key_share=True)
        lately = JobRow.sent_at > func.now() - resend_after
        rows = self._session.scalars(
            update(JobRow)
            .where(
                JobRow.id.in_(first),
                JobRow.status == JobStatus.QUEUED,
                or_(JobRow.sent_at.is_(None), ~lately),
            )
            .values(sent_at=func.now())
            .returning(JobRow.id)
            .execution_options(synchronize_session=False)
        )
        return list(rows)

    def fail_late(self) -> list[UUID]:
        """End waiting jobs whose deadline has passed; returns them. One that is held is ended by its holder."""
        return self._fail(LATE, _is_late())

    def fail_lost(self) -> list[UUID]:
        """End waiting jobs that lost one coordinator after the other; returns them."""
        return self._fail(LOST, _is_lost())

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
        """Move those of the waiting jobs that nobody is writing at the moment; parked ones that nobody keeps, too."""
        parked = and_(is_parked(), JobRow.lease_token.is_(None))
        waiting = or_(JobRow.status.in_([JobStatus.QUEUED, JobStatus.PAUSED]), parked)
        found = select(JobRow.id).where(JobRow.ended_at.is_(None), waiting, which)
        rows = self._session.scalars(
            update(JobRow)
            .where(JobRow.id.in_(found.with_for_update(skip_locked=True, key_share=True)))
            .values(version=JobRow.version + 1, **NOT_PARKED, **values)
            .returning(JobRow.id)
        )
        return list(rows)

    def requeue_expired(self, reason: str, held_by: Sequence[str] | None = None) -> list[UUID]:
        """Running jobs whose lease is over, or else those of holders known dead, wait again; returns them.

        A parked one loses nothing: it stays where it is, and somebody else keeps it.
        """
        self._free(is_parked(), held_by)
        requeued = {"status": JobStatus.QUEUED, "phase": None, "reason": reason, "sent_at": None}
        return self._free(~is_parked(), held_by, losses=JobRow.losses + 1, **requeued)

    def _free(self, which: ColumnElement[bool], held_by: Sequence[str] | None, **values: Any) -> list[UUID]:
        over = JobRow.lease_expires_at < func.now() if held_by is None else JobRow.lease_holder.in_(held_by)
        found = select(JobRow.id).where(JobRow.status == JobStatus.RUNNING, over, which)
        nobody = {"lease_token": None, "lease_expires_at": None, "lease_holder": None}
        rows = self._session.scalars(
            update(JobRow)
            .where(JobRow.id.in_(found.with_for_update(skip_locked=True, key_share=True)))
            .values(version=JobRow.version + 1, **nobody, **values)
            .returning(JobRow.id)
        )
        return list(rows)


def _is_late() -> ColumnElement[bool]:
    return JobRow.deadline_at < func.now()


def _is_lost() -> ColumnElement[bool]:
    return JobRow.losses >= MAX_LOSSES
