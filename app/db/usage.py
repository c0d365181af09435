"""Device seconds by hour, team, owner, model and outcome: kept when jobs and replicas are not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Label, SQLColumnExpression, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import ChargeRow, TallyRow, UsageRow
from app.db.tallies import COLUMNS, charged
from app.domain.ledger import SHARED
from app.domain.line import Account
from app.domain.usage import Side, UsageFilter, UsageReport, UsageSum

FORGOTTEN = 20
"""After so many half-lives a device second counts for nothing."""


class UsageRepository:
    """Books and sums."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def book(self) -> int:
        """Move what replicas charged into `usage`, and count it for good, but for rows being written; how many."""
        own = tuple_(*ChargeRow.__table__.primary_key)
        written = select(*ChargeRow.__table__.primary_key).with_for_update(skip_locked=True)
        taken = delete(ChargeRow).where(own.in_(written)).returning(ChargeRow).cte("taken")
        key = [column.name for column in UsageRow.__table__.primary_key]
        whose = [taken.c[name] for name in key]
        summed = select(*whose, func.sum(taken.c.seconds)).group_by(*whose)
        added = insert(UsageRow).from_select([*key, "seconds"], summed)
        sums = {"seconds": UsageRow.seconds + added.excluded.seconds}
        booked = added.on_conflict_do_update(index_elements=key, set_=sums).cte("booked")
        counted = insert(TallyRow).from_select(COLUMNS, charged(taken.c)).cte("counted")
        count = select(func.count()).select_from(taken)
        return int(self._session.scalar(count.add_cte(booked, counted)) or 0)

    def lately(self, half_life: timedelta) -> dict[Account, float]:
        """What counts against each owner; what is longer ago counts less, half after each half-life."""
        age = func.extract("epoch", func.now() - UsageRow.hour) / half_life.total_seconds()
        total = func.sum(UsageRow.seconds * func.power(0.5, age))
        recent = UsageRow.hour > func.now() - FORGOTTEN * half_life
        query = select(UsageRow.team, UsageRow.owner, total).where(recent, UsageRow.outcome.in_(SHARED))
        rows = self._session.execute(query.group_by(UsageRow.team, UsageRow.owner))
        return {(team, owner): float(seconds) for team, owner, seconds in rows}

    def report(self, wanted: UsageFilter, limit: int) -> UsageReport:
        """Sums in the order of time, the largest first."""
        sides: dict[Side, Label[Any]] = {side: _SIDES[side].label(side) for side in wanted.by}
        seconds = func.sum(UsageRow.seconds).label("device_seconds")
        query = select(*sides.values(), seconds).where(
            UsageRow.hour >= func.date_trunc("hour", wanted.since), UsageRow.hour < wanted.until
        )
        if wanted.team is not None:
            query = query.where(UsageRow.team == wanted.team)
        sums = query.group_by(*sides.values()).subquery()
        count, total = self._session.execute(
            select(func.count(), func.coalesce(func.sum(sums.c.device_seconds), 0.0))
        ).one()
        times = [sums.c[side] for side in (Side.DAY, Side.HOUR) if side in sides]
        names = [sums.c[side] for side in sides if side not in {Side.DAY, Side.HOUR}]
        shown = select(sums).order_by(*times, sums.c.device_seconds.desc(), *names).limit(limit)
        found = [UsageSum(**row) for row in self._session.execute(shown).mappings()]
        return UsageReport(found, count, float(total))


_SIDES: Mapping[Side, SQLColumnExpression[Any]] = {
    Side.TEAM: UsageRow.team,
    Side.OWNER: UsageRow.owner,
    Side.MODEL: UsageRow.model,
    Side.OUTCOME: UsageRow.outcome,
    Side.HOUR: UsageRow.hour,
    Side.DAY: func.date_trunc("day", UsageRow.hour),
}
