"""Queued jobs that wait for what the cluster lacks."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.line import in_line
from app.db.tables import JobRow
from app.domain.engine_spec import EngineSpec
from app.domain.job import JobStatus, waiting
from app.domain.plan import Plan


class WaitingJobRepository:
    """Lists and plans again; nobody holds such a job."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ids(self) -> list[UUID]:
        """In the order they are served."""
        query = select(JobRow.id).where(JobRow.status == JobStatus.QUEUED, JobRow.waits_for.is_not(None))
        return list(self._session.scalars(query.order_by(*in_line())))

    def plan_again(self, job_id: UUID, engine: EngineSpec, plan: Plan, waits_for: str | None) -> bool:
        """Write the plan for what there is now; False where the job does not wait any more.

        A job that waits for nothing is in line from now on, and is announced as one that was just posted.
        """
        done = self._session.execute(
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.status == JobStatus.QUEUED, JobRow.waits_for.is_not(None))
            .values(
                engine=engine.to_json(),
                engine_key=engine.key,
                plan=plan.to_json(),
                waits_for=waits_for,
                reason=waiting(waits_for),
                sent_at=None,
                version=JobRow.version + 1,
            )
        )
        return bool(done.rowcount)  # type: ignore[attr-defined]
