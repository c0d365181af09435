"""Device seconds that were of use, by hour, team, owner and model: kept when the jobs are not."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import JobRow, UsageRow
from app.domain.line import Account

FORGOTTEN = 20
"""After so many half-lives a device second counts for nothing."""


class UsageRepository:
    """Adds and sums."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def charge(self, job_id: UUID, seconds: float) -> None:
        """Count what engines did for a job to its owner."""
        if not seconds:
            return
        hour = func.date_trunc("hour", func.now())
        model = func.coalesce(JobRow.engine["model"].astext, "")
        whose = select(hour, JobRow.team, JobRow.owner, cast(model, Text), literal(seconds)).where(
            JobRow.id == job_id
        )
        columns = ["hour", "team", "owner", "model", "seconds"]
        statement = insert(UsageRow).from_select(columns, whose)
        added = {"seconds": UsageRow.seconds + statement.excluded.seconds}
        key = [UsageRow.hour, UsageRow.team, UsageRow.owner, UsageRow.model]
        self._session.execute(statement.on_conflict_do_update(index_elements=key, set_=added))

    def lately(self, half_life: timedelta) -> dict[Account, float]:
        """By owner; what is longer ago counts less, half after each half-life."""
        age = func.extract("epoch", func.now() - UsageRow.hour) / half_life.total_seconds()
        total = func.sum(UsageRow.seconds * func.power(0.5, age))
        recent = UsageRow.hour > func.now() - FORGOTTEN * half_life
        query = select(UsageRow.team, UsageRow.owner, total).where(recent)
        rows = self._session.execute(query.group_by(UsageRow.team, UsageRow.owner))
        return {(team, owner): float(seconds) for team, owner, seconds in rows}
