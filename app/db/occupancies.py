"""What the devices do and did lately, within bounds, however much is stored."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from app.db.listings import conditions
from app.db.replicas import to_replica
from app.db.tables import JobRow, ReplicaRow
from app.db.wishes import group_wish
from app.domain.job import JobStatus, Phase
from app.domain.job_filter import JobFilter
from app.domain.occupancy import Occupant
from app.domain.replica import LIVE, Replica

MOST = 500
"""Of each kind, the latest."""


class OccupancyRepository:
    """Reads only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ended(self, since: datetime) -> list[Replica]:
        """Replicas that gave their devices back since then, the latest first."""
        query = select(ReplicaRow).where(ReplicaRow.status.not_in(LIVE), ReplicaRow.ended_at > since)
        rows = self._session.scalars(query.order_by(ReplicaRow.ended_at.desc()).limit(MOST))
        return [to_replica(row) for row in rows]

    def jobs(self, since: datetime, engines: Collection[str]) -> list[Occupant]:
        """Jobs of these engines that run, and those that ended since then."""
        columns = (
            *(JobRow.id, JobRow.name, JobRow.team, JobRow.engine["model"].astext, JobRow.engine_key),
            *(group_wish(), JobRow.status, JobRow.phase, JobRow.requests_done, JobRow.requests_total),
            *(JobRow.started_at, JobRow.ended_at),
        )
        theirs = JobRow.engine_key == func.any(list(engines))  # thousands may be parked
        running = select(*columns).where(JobRow.status == JobStatus.RUNNING, theirs)
        running = running.order_by(JobRow.started_at.desc()).limit(MOST)
        over = select(*columns).where(JobRow.ended_at > since, JobRow.started_at.is_not(None))
        over = over.order_by(JobRow.ended_at.desc()).limit(MOST)
        rows = self._session.execute(union_all(running.subquery().select(), over.subquery().select()))
        return [_occupant(row) for row in rows]

    def ended_jobs(self, since: datetime, team: str | None, limit: int) -> list[UUID]:
        """Those that ended since then, the latest first."""
        query = select(JobRow.id).where(JobRow.ended_at > since).order_by(JobRow.ended_at.desc()).limit(limit)
        return list(self._session.scalars(query.where(JobRow.team == team) if team else query))

    def has_any(self, team: str | None) -> bool:
        """Whether a team has a job, or anybody."""
        one = select(JobRow.id).where(*conditions(JobFilter(team=team))).limit(1)
        return self._session.scalar(one) is not None

    def counts(self, wanted: JobFilter, most: int) -> dict[JobStatus, int]:
        """By status, of the newest so many jobs that the filter lets through; of all where it does not choose."""
        some = select(JobRow.status.label("status")).where(*conditions(wanted))
        if wanted.chooses:
            some = some.order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(most)
        found = some.subquery()
        query = select(found.c.status, func.count()).group_by(found.c.status)
        return {JobStatus(status): count for status, count in self._session.execute(query)}


def _occupant(row: Any) -> Occupant:
    job_id, name, team, model, key, group, status, phase, *rest = row
    at = Phase(phase) if phase else None
    return Occupant(job_id, name, team, model, key, group, JobStatus(status), at, *rest)
