"""Events of all jobs, in the order of their serials.

Serials are drawn before transactions commit. Up to the last settled one nothing is under way any more: who reads no
further skips nothing (the migration `event_serials` says how that is known).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.db.listings import conditions
from app.db.tables import EventRow, JobRow, JobTaskRow
from app.domain.event import Event, SerialEvent
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter, Subject

_OF_THE_JOB = (
    JobRow.status,
    JobRow.owner,
    JobRow.team,
    JobRow.engine["model"].astext.label("model"),
    JobRow.tags,
    JobRow.name,
    JobRow.created_at,
    JobRow.event_count,
)


class AllEventsRepository:
    """Reads only. Each statement has to see what was committed before it: not under one snapshot for all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def settled(self) -> tuple[int, int]:
        """The last serial up to which all is committed or gone, and the last one that was drawn."""
        row = self._session.execute(text("SELECT settled, drawn FROM settled_event_serials()")).one()
        return row.settled, row.drawn

    def first(self, after: int) -> int | None:
        """The next serial that there is."""
        return self._session.scalar(select(func.min(EventRow.serial)).where(EventRow.serial > after))

    def between(
        self, after: int, upto: int, limit: int, wanted: JobFilter, tasks: Collection[str] = ()
    ) -> list[SerialEvent]:
        """Events of the wanted jobs behind one serial, up to another; of `tasks` it is told which the jobs have."""
        query = (
            select(EventRow, *_OF_THE_JOB)
            .join(JobRow, JobRow.id == EventRow.job_id)
            .where(EventRow.serial > after, EventRow.serial <= upto, *conditions(wanted))
            .order_by(EventRow.serial)
            .limit(limit)
        )
        rows = self._session.execute(query).all()
        having = self._having({row.EventRow.job_id for row in rows}, tasks)
        return [_to_event(row, frozenset(having[row.EventRow.job_id])) for row in rows]

    def _having(self, job_ids: Collection[UUID], tasks: Collection[str]) -> dict[UUID, set[str]]:
        found: dict[UUID, set[str]] = defaultdict(set)
        if tasks and job_ids:
            pair = (JobTaskRow.job_id, JobTaskRow.name)
            query = select(*pair).where(JobTaskRow.job_id.in_(job_ids), JobTaskRow.name.in_(tasks))
            for job_id, name in self._session.execute(query):
                found[job_id].add(name)
        return found


def _to_event(row: Any, tasks: frozenset[str]) -> SerialEvent:
    event = row.EventRow
    job = Subject(
        id=event.job_id,
        status=JobStatus(row.status),
        owner=row.owner,
        team=row.team,
        model=row.model,
        tags=frozenset(row.tags),
        name=row.name,
        created_at=row.created_at,
        last=row.event_count,
        tasks=tasks,
    )
    return SerialEvent(event.serial, job, Event(event.number, event.at, event.type, event.data))
