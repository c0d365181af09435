"""What engines took of late: to be loaded, and to answer."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ARRAY, Text, bindparam, column, func, select, true
from sqlalchemy.orm import Session

from app.db.tables import ReplicaRow
from app.domain.demands import Learnt

LATEST = 10
"""Replicas of one engine that tell of it."""


class PaceRepository:
    """Reads only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def learnt(self, engine_keys: Collection[str]) -> dict[str, Learnt]:
        """By engine, of those that were loaded before: the middle of the seconds, the mean of the speeds."""
        given = func.unnest(bindparam("keys", list(engine_keys), type_=ARRAY(Text)))
        keys = given.table_valued(column("key", Text)).render_derived()
        latest = (
            select(
                ReplicaRow.serving_at, ReplicaRow.claimed_at, ReplicaRow.cost_done, ReplicaRow.busy_seconds
            )
            .where(ReplicaRow.engine_key == keys.c.key, ReplicaRow.serving_at.is_not(None))
            .order_by(ReplicaRow.placed_at.desc())
            .limit(LATEST)
            .lateral()
        )
        seconds = func.extract("epoch", latest.c.serving_at - latest.c.claimed_at)
        load = func.percentile_cont(0.5).within_group(seconds)
        speed = func.sum(latest.c.cost_done) / func.nullif(func.sum(latest.c.busy_seconds), 0.0)
        query = select(keys.c.key, load, speed).join(latest, true()).group_by(keys.c.key)
        rows = self._session.execute(query)
        return {key: Learnt(float(load), float(speed) if speed else None) for key, load, speed in rows}
