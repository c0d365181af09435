"""What the tasks of a job have come to; who may write them is guarded by the job's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from app.db.tables import JobTaskRow
from app.domain.failure import Failure
from app.domain.job import OPEN, SCORED, TaskStatus
from app.domain.quality import TaskQuality
from app.domain.storable import to_json


class JobTaskRepository:
    """Replace, count, finish, fail, close."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def replace(self, job_id: UUID, totals: Sequence[tuple[str, int]], *, keep: bool = False) -> None:
        """Replace the job's tasks by the leaf tasks that were built, in order; `keep` what they have come to."""
        names = [name for name, _ in totals]
        existing = set(self._session.scalars(select(JobTaskRow.name).where(JobTaskRow.job_id == job_id)))
        for position, name in enumerate(names):
            if name not in existing:
                self._session.add(
                    JobTaskRow(job_id=job_id, position=position, name=name, status=TaskStatus.WAITING)
                )
        self._session.flush()
        unscored: dict[str, Any] = {"metrics": None, "quality": None, "error": None}
        anew = {} if keep else {"done": 0, "status": TaskStatus.RUNNING, **unscored}
        for position, (name, total) in enumerate(totals):
            self._update(job_id, name, position=position, total=total, **anew)
        gone = [name for name in existing if name not in names]
        failed = select(JobTaskRow.name).where(
            JobTaskRow.job_id == job_id, JobTaskRow.status == TaskStatus.FAILED
        )
        for name in set(gone) - set(self._session.scalars(failed)):
            row = self._session.get(JobTaskRow, (job_id, name))
            if row is not None:
                self._session.delete(row)

    def progress(self, job_id: UUID, done: Mapping[str, int]) -> None:
        """Set how many requests of each task are answered."""
        for name, count in done.items():
            self._update(job_id, name, done=count)

    def finish(
        self,
        job_id: UUID,
        name: str,
        metrics: Mapping[str, Any],
        error: Failure | None,
        quality: TaskQuality | None = None,
    ) -> bool:
        """The task is scored; with an error, without some of its documents. False where it was before."""
        status = TaskStatus.PARTIALLY_FAILED if error else TaskStatus.SUCCEEDED
        told = error.to_json() if error else None
        noted = quality.to_json() if quality else None
        values = {"status": status, "metrics": to_json(metrics), "quality": noted, "error": told}
        return self._update(job_id, name, JobTaskRow.status.not_in(SCORED), **values)

    def fail(self, job_id: UUID, name: str, error: Failure, *, given_up: bool = False) -> bool:
        """The task cannot be scored; a task that failed before it was built is added. False where it is known.

        One that is `given_up` asks for nothing any more, whatever was built of it.
        """
        row = self._session.get(JobTaskRow, (job_id, name))
        if row is None:
            self._session.add(
                JobTaskRow(job_id=job_id, position=10_000, name=name, status=TaskStatus.WAITING)
            )
            self._session.flush()
        open_or_other = or_(JobTaskRow.status != TaskStatus.FAILED, JobTaskRow.error != error.to_json())
        values = {"status": TaskStatus.FAILED, "error": error.to_json()} | (
            {"total": None} if given_up else {}
        )
        return self._update(job_id, name, open_or_other, **values)

    def close(self, job_ids: Sequence[UUID], error: Failure) -> None:
        """End the tasks that were not done when their jobs ended."""
        self._session.execute(
            update(JobTaskRow)
            .where(JobTaskRow.job_id.in_(job_ids), JobTaskRow.status.in_(OPEN))
            .values(status=TaskStatus.FAILED, error=error.to_json())
            .execution_options(synchronize_session=False)
        )

    def _update(self, job_id: UUID, name: str, *where: ColumnElement[bool], **values: Any) -> bool:
        done = self._session.execute(
            update(JobTaskRow)
            .where(JobTaskRow.job_id == job_id, JobTaskRow.name == name, *where)
            .values(**values)
            .execution_options(synchronize_session=False)
        )
        return bool(done.rowcount)  # type: ignore[attr-defined]
