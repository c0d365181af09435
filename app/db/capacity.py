"""What waits and what there is to run it on, as the scheduler weighs them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from app.db.early_starts import has_early_engine, may_start_early, prepares
from app.db.groups import NOBODY
from app.db.line import in_line
from app.db.tables import ChunkRow, DeviceRow, GroupRow, JobRow
from app.db.wishes import can_be_claimed, goes_on, is_due, wants_answers
from app.domain.chunk import PENDING, ChunkStatus
from app.domain.engine_spec import EngineSpec
from app.domain.job import JobStatus
from app.domain.placement import Group
from app.domain.plan import Plan
from app.domain.replica import Device, DeviceState

MOST_EXPECTED = 16
"""Jobs that prepare, and likewise of those behind them, for which engines are started: others are not prepared soon."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WaitingWork:
    """Waiting chunks of one job, as the scheduler weighs them."""

    job_id: UUID
    team: str
    owner: str
    engine: EngineSpec
    priority: int
    created_at: datetime
    plan: Plan
    chunks: int
    cost: float
    version: int = 0
    """Of the job's row."""

    def left(self, priority: int, chunks: int, cost: float) -> WaitingWork:
        """The same with what is left of it now; itself where nothing has changed, so that this is seen at once."""
        if (self.priority, self.chunks, self.cost) == (priority, chunks, cost):
            return self
        return replace(self, priority=priority, chunks=chunks, cost=cost)


class CapacityRepository:
    """Reads only; of a job that cannot be read it tells once, as far as `unread` goes back."""

    def __init__(self, session: Session, unread: set[tuple[UUID, int]] | None = None) -> None:
        self._session = session
        self._unread = set() if unread is None else unread

    def work(self, known: Mapping[UUID, WaitingWork] | None = None) -> list[WaitingWork]:
        """Waiting and claimed chunks per running job, in line; what is known of a job is not read again.

        None of those that wait for a coordinator to judge what failed: until then no engine is given them.
        """
        given = or_(ChunkRow.status == ChunkStatus.CLAIMED, ChunkRow.job_id.not_in(_to_be_judged()))
        pending = and_(ChunkRow.status.in_(PENDING), given)
        sums = (  # before the join: a job's row is wide, and its chunks are many
            select(ChunkRow.job_id, func.count().label("chunks"), func.sum(ChunkRow.cost).label("cost"))
            .where(ChunkRow.job_id.in_(select(JobRow.id).where(wants_answers())), pending)
            .group_by(ChunkRow.job_id)
            .subquery()
        )
        columns = (JobRow.id, JobRow.version, JobRow.priority, sums.c.chunks, sums.c.cost)
        query = select(*columns).join(sums, sums.c.job_id == JobRow.id)
        rows = self._session.execute(query.order_by(*in_line())).all()
        before = known or {}
        same = {row.id for row in rows if row.id in before and before[row.id].version == row.version}
        there = {**before, **self._asked([row.id for row in rows if row.id not in same])}
        return [
            there[row.id].left(row.priority, row.chunks, float(row.cost)) for row in rows if row.id in there
        ]

    def _asked(self, job_ids: Sequence[UUID]) -> dict[UUID, WaitingWork]:
        """What does not change while a row has its version."""
        if not job_ids:
            return {}
        columns = (JobRow.id, JobRow.team, JobRow.owner, JobRow.engine, JobRow.priority, JobRow.created_at)
        query = select(*columns, JobRow.plan, JobRow.version).where(JobRow.id == func.any(list(job_ids)))
        found = map(self._waiting, self._session.execute(query))
        return {item.job_id: item for item in found if item is not None}

    def expected(self) -> list[tuple[WaitingWork, bool]]:
        """What jobs will ask for whose requests are not there yet, those first that prepare, then the next in line.

        Each comes with whether an engine may be started for it: not for those farther back that one is there for.
        In one statement: a job that is taken up meanwhile is in one of its parts, or in both.
        """
        in_turn = and_(can_be_claimed(), goes_on())
        near, theirs = _first(prepares()).union_all(_first(in_turn)).cte("near"), or_(prepares(), in_turn)
        named = select(JobRow.id).where(theirs, has_early_engine())
        may_start = and_(JobRow.id.in_(select(near.c.id)), may_start_early())
        columns = (JobRow.id, JobRow.team, JobRow.owner, JobRow.engine, JobRow.priority, JobRow.created_at)
        query = select(*columns, JobRow.plan, JobRow.version, may_start.label("may_start"))
        query = query.where(JobRow.id.in_(select(near.c.id).union_all(named)))
        rows = self._session.execute(query.order_by(JobRow.status == JobStatus.QUEUED, *in_line()))
        found = ((self._waiting(row), row.may_start) for row in rows)
        return [(item, may_start) for item, may_start in found if item is not None]

    def _waiting(self, row: Any) -> WaitingWork | None:
        """None of one that cannot be read, as another version may have written it: it holds up no other."""
        try:
            engine, plan = EngineSpec.from_json(row.engine), Plan.from_json(row.plan)
        except (KeyError, TypeError, ValueError):
            if (row.id, row.version) not in self._unread:
                self._unread.add((row.id, row.version))
                log.warning("job %s gets no devices: its row cannot be read", row.id, exc_info=True)
            return None
        return WaitingWork(
            row.id, row.team, row.owner, engine, row.priority, row.created_at, plan, 0, 0.0, row.version
        )

    def groups(self, alive_within: timedelta) -> list[Group]:
        """Every group with its devices."""
        devices: dict[str, list[Device]] = {}
        for row in self._session.scalars(select(DeviceRow).order_by(DeviceRow.index)):
            devices.setdefault(row.group_name, []).append(to_device(row))
        fresh = and_(GroupRow.heartbeat_at > func.now() - alive_within, GroupRow.worker_token != NOBODY)
        rows = self._session.execute(select(GroupRow, fresh).order_by(GroupRow.name)).all()
        return [
            Group(
                name=row.name,
                devices=tuple(devices.get(row.name, ())),
                backends=frozenset(row.backends),
                alive=alive,
                draining=row.drain_requested_at is not None,
                heard_at=row.heartbeat_at,
            )
            for row, alive in rows
        ]


def _first(which: ColumnElement[bool]) -> Select[UUID]:
    return select(JobRow.id).where(which).order_by(*in_line()).limit(MOST_EXPECTED)


def _to_be_judged() -> Select[UUID]:
    """Jobs without a coordinator that are due for what failed."""
    failed = and_(ChunkRow.status == ChunkStatus.FAILED, ~ChunkRow.collected)
    return select(JobRow.id).where(is_due(), exists().where(ChunkRow.job_id == JobRow.id, failed))


def to_device(row: DeviceRow) -> Device:
    """A row as the rules see it."""
    return Device(
        row.id,
        row.index,
        row.name,
        row.memory_bytes,
        DeviceState(row.state),
        row.reason,
        row.replica_id,
        (row.traits or {}).get("island"),
    )
