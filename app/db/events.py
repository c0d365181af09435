"""A job's log of events: dense numbers in commit order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app.db.tables import EventRow, JobRow
from app.db.tallies import TallyRepository
from app.domain.event import Event
from app.domain.redaction import redacted


class EventRepository:
    """Appends under the job row's lock, so numbers have no gap and appear in commit order."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, job_id: UUID, event_type: str, data: dict[str, Any]) -> int:
        """Write the next event in the caller's transaction, without secrets, and count it; returns its number."""
        number = self._session.scalar(
            update(JobRow)
            .where(JobRow.id == job_id)
            .values(event_count=JobRow.event_count + 1)
            .returning(JobRow.event_count)
            .execution_options(synchronize_session=False)
        )
        self._write(job_id, int(number or 0), event_type, data)
        return int(number or 0)

    def begin(self, job_id: UUID, event_type: str, data: dict[str, Any]) -> None:
        """Write the first event of a job that was added in the caller's transaction with one event, likewise."""
        self._write(job_id, 1, event_type, data)

    def _write(self, job_id: UUID, number: int, event_type: str, data: dict[str, Any]) -> None:
        told = {"job_id": job_id, "number": number, "type": event_type, "data": redacted(data)}
        self._session.connection().execute(insert(EventRow).values(at=func.clock_timestamp()), told)
        TallyRepository(self._session).note_event(job_id, event_type, data)

    def append_each(self, event_type: str, told: Mapping[UUID, dict[str, Any]]) -> None:
        """The next event of each of these jobs; as few statements for thousands of jobs as for one."""
        numbers = self._session.execute(
            update(JobRow)
            .where(JobRow.id == func.any(list(told)))
            .values(event_count=JobRow.event_count + 1)
            .returning(JobRow.id, JobRow.event_count)
            .execution_options(synchronize_session=False)
        ).all()
        rows = [
            {"job_id": job_id, "number": number, "type": event_type, "data": redacted(told[job_id])}
            for job_id, number in numbers
        ]
        if rows:
            self._session.execute(insert(EventRow).values(at=func.clock_timestamp()), rows)
        for job_id, data in told.items():
            TallyRepository(self._session).note_event(job_id, event_type, data)

    def of_types(self, job_id: UUID, types: Collection[str]) -> list[Event]:
        """Events of these types, oldest first."""
        query = select(EventRow).where(EventRow.job_id == job_id, EventRow.type.in_(types))
        rows = self._session.scalars(query.order_by(EventRow.number))
        return [Event(row.number, row.at, row.type, row.data) for row in rows]

    def after(self, job_id: UUID, number: int, limit: int) -> list[Event]:
        """Events with a greater number, oldest first."""
        query = select(EventRow).where(EventRow.job_id == job_id, EventRow.number > number)
        rows = self._session.scalars(query.order_by(EventRow.number).limit(limit))
        return [Event(row.number, row.at, row.type, row.data) for row in rows]
