"""The order of service, as the scheduler writes it: every query that serves somebody next orders by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Float,
    Integer,
    Select,
    SQLColumnExpression,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from app.db.tables import JobRow
from app.db.wishes import can_be_claimed
from app.domain.job import JobStatus, Phase
from app.domain.line import InLine

BEING_WRITTEN = 0x6C696E65
"""The advisory lock of who writes the line."""


def in_line(*give_way: ColumnElement[bool]) -> tuple[SQLColumnExpression[Any], ...]:
    """By priority, then those that do not give way, then by turn; a job that has none yet goes behind."""
    return (JobRow.priority.desc(), *give_way, JobRow.turn.asc().nulls_last(), JobRow.created_at)


def wait_for_the_line() -> Select[Any]:
    """While the line is written its rows are locked, and who passes over locked rows would take the wrong one."""
    return select(func.pg_advisory_xact_lock_shared(BEING_WRITTEN))


def width() -> SQLColumnExpression[int]:
    """Devices of one replica of a job's engine; one where another version wrote something else."""
    told = JobRow.engine["gpus"].astext
    return func.coalesce(case((told.regexp_match("^[0-9]{1,6}$"), cast(told, Integer))), 1)


@dataclass(frozen=True)
class Attendance:
    """Who is in line: another one where somebody came or went, or has another priority."""

    jobs: int
    sum: Decimal | None
    """Of hashes."""


class LineRepository:
    """The scheduler's."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def attendance(self) -> Attendance:
        """Who is in line, and with which priority."""
        told = func.uuid_hash_extended(JobRow.id, cast(JobRow.priority, BigInteger))
        count, sum_ = self._session.execute(select(func.count(), func.sum(told)).where(_live())).one()
        return Attendance(count, sum_)

    def jobs(self) -> list[InLine]:
        """Those that can be claimed or run, in the order in which they are served now."""
        told = cast(JobRow.rates["eta_seconds"].astext, Float)
        left = case((JobRow.phase == Phase.EVALUATING, told), else_=None)  # else it is of another attempt
        columns = (JobRow.id, JobRow.team, JobRow.owner, JobRow.priority, JobRow.created_at, left, width())
        query = select(*columns).where(_live()).order_by(*in_line())
        return [InLine(*row) for row in self._session.execute(query)]

    def write(self, line: Sequence[UUID]) -> None:
        """These are served in this order, and others behind them; one that is being written keeps what it had."""
        given = func.unnest(bindparam("ids", list(line), type_=ARRAY(Uuid)))
        turns = given.table_valued(column("id", Uuid), with_ordinality="turn").render_derived()
        new = select(JobRow.id, turns.c.turn).outerjoin(turns, turns.c.id == JobRow.id)
        moved = new.where(_live(), JobRow.turn.is_distinct_from(turns.c.turn))
        locked = moved.with_for_update(of=JobRow, skip_locked=True, key_share=True).subquery()
        self._session.execute(select(func.pg_advisory_xact_lock(BEING_WRITTEN)))
        statement = update(JobRow).where(JobRow.id == locked.c.id).values(turn=locked.c.turn)
        self._session.execute(statement.execution_options(synchronize_session=False))


def _live() -> ColumnElement[bool]:
    """Jobs that can be served: not those that wait for what the cluster lacks."""
    return or_(can_be_claimed(), JobRow.status == JobStatus.RUNNING)
