"""How many there are: read at every scrape, so from indices and small tables alone."""

from __future__ import annotations

from sqlalchemy import Text, case, func, literal, select, union_all
from sqlalchemy.orm import Session

from app.db.tables import DeviceRow, GroupRow, JobRow

ANY_GROUP = ""
UNKNOWN_GROUP = "unknown"


class CountRepository:
    """Counts states as they are now."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def jobs(self) -> dict[tuple[str, str], int]:
        """By status and by the group a job is to run in, which is not looked up for jobs that are over.

        A group that no worker has reported is not named: its name is no more than a user's word.
        """
        wish = JobRow.plan["group"].astext
        known = select(GroupRow.name).where(GroupRow.name == wish).scalar_subquery()
        group = case((wish.is_(None), ANY_GROUP), else_=func.coalesce(known, UNKNOWN_GROUP))
        live = select(JobRow.status, group.label("group"), func.count()).where(JobRow.ended_at.is_(None))
        over = select(JobRow.status, literal(ANY_GROUP, Text), func.count()).where(
            JobRow.ended_at.is_not(None)
        )
        both = union_all(live.group_by(JobRow.status, group), over.group_by(JobRow.status))
        return {(status, group): count for status, group, count in self._session.execute(both)}

    def devices(self) -> dict[tuple[str, str], int]:
        """By group and state."""
        key = (DeviceRow.group_name, DeviceRow.state)
        rows = self._session.execute(select(*key, func.count()).group_by(*key))
        return {(group, state): count for group, state, count in rows}

    def silence(self) -> dict[str, float]:
        """Seconds since each group's worker was heard."""
        age = func.extract("epoch", func.now() - GroupRow.heartbeat_at)
        rows = self._session.execute(select(GroupRow.name, age))
        return {name: max(float(seconds), 0.0) for name, seconds in rows}
