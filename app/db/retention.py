"""Deletes what is older than it is to be kept, a piece at a time; the caller's transaction holds one piece.

Where no index knows the age, a table is walked once in ranges of its pages, each of which is read once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    cast,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import Session

from app.db.columns import Base
from app.db.tables import EngineFactsRow, EngineMeasureRow, JobRow, LogRow, ReplicaRow, ResponseRow, UsageRow
from app.domain.job import TERMINAL
from app.domain.replica import LIVE

JOBS_AT_ONCE = 10
"""A job takes its events, samples and logs with it."""

REPLICAS_AT_ONCE = 500
PAGES_AT_ONCE = 1024
"""8 MiB of a table."""


class RetentionRepository:
    """Each `drop_` removes one piece and says how many rows; each `old_` counts what would go."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def old_jobs(self, age: timedelta) -> int:
        """Ended jobs older than this."""
        return self._count(JobRow, _ended_job(age))

    def drop_jobs(self, age: timedelta) -> int:
        """Some of them, with all that belongs to them; a job that is being retried is left alone."""
        some = select(JobRow.id).where(_ended_job(age)).order_by(JobRow.ended_at).limit(JOBS_AT_ONCE)
        jobs = self._session.scalars(some.with_for_update(skip_locked=True)).all()
        self._delete(LogRow, or_(LogRow.owner_id.in_(jobs), LogRow.job_id.in_(jobs)))
        return self._delete(JobRow, JobRow.id.in_(jobs))

    def old_replicas(self, age: timedelta) -> int:
        """Ended replicas older than this that no stored job names any more."""
        return self._count(ReplicaRow, _forgotten_replica(age))

    def drop_replicas(self, age: timedelta) -> int:
        """Some of them, with their logs."""
        some = select(ReplicaRow.id).where(_forgotten_replica(age)).limit(REPLICAS_AT_ONCE)
        replicas = self._session.scalars(some).all()
        self._delete(LogRow, LogRow.owner_id.in_(replicas))
        return self._delete(ReplicaRow, ReplicaRow.id.in_(replicas))

    def old_measures(self, age: timedelta) -> int:
        """Loads older than this."""
        return self._count(EngineMeasureRow, EngineMeasureRow.loaded_at < _before(age))

    def drop_measures(self, age: timedelta) -> int:
        """Those: of each engine there are few."""
        return self._delete(EngineMeasureRow, EngineMeasureRow.loaded_at < _before(age))

    def response_pages(self) -> int:
        """How large the table of responses is."""
        return self._pages(ResponseRow)

    def old_responses(self, age: timedelta, first: int) -> int:
        """Responses older than this in the pages from `first` on, unless a job that has not ended may need them."""
        return self._count(ResponseRow, _in_pages(first), _old_response(age))

    def drop_responses(self, age: timedelta, first: int) -> int:
        """Those. A response that a live job relies on is of its fingerprint: it stays, however old."""
        return self._delete(ResponseRow, _in_pages(first), _old_response(age))

    def old_facts(self, age: timedelta) -> int:
        """Facts about engines older than this, of fingerprints that no response and no live job has."""
        return self._count(EngineFactsRow, _forgotten_facts(age))

    def drop_facts(self, age: timedelta) -> int:
        """Those: a row for each fingerprint there was, so that they are few."""
        return self._delete(EngineFactsRow, _forgotten_facts(age))

    def log_pages(self) -> int:
        """How large the table of logs is."""
        return self._pages(LogRow)

    def old_logs(self, age: timedelta, first: int) -> int:
        """Log pieces older than this in the pages from `first` on, but for logs that are still written."""
        return self._count(LogRow, _in_pages(first), _old_log(age))

    def drop_logs(self, age: timedelta, first: int) -> int:
        """Those."""
        return self._delete(LogRow, _in_pages(first), _old_log(age))

    def long_logs(self, most_bytes: int) -> list[tuple[UUID, UUID | None]]:
        """Logs longer than this: a job's own, a replica's start, and what it wrote for each job."""
        whose = (LogRow.owner_id, LogRow.job_id)
        size = func.sum(func.octet_length(LogRow.text))
        rows = self._session.execute(select(*whose).group_by(*whose).having(size > most_bytes))
        return [(row.owner_id, row.job_id) for row in rows]

    def cut_log(self, owner_id: UUID, job_id: UUID | None, most_bytes: int) -> int:
        """Drop the oldest pieces of a log beyond this size."""
        log = and_(LogRow.owner_id == owner_id, LogRow.job_id.is_not_distinct_from(job_id))
        size = func.sum(func.octet_length(LogRow.text)).over(order_by=LogRow.number.desc()).label("size")
        pieces = select(LogRow.number, size).where(log).subquery()
        beyond = select(pieces.c.number).where(pieces.c.size > most_bytes)
        return self._delete(LogRow, log, LogRow.number.in_(beyond))

    def old_usage(self, age: timedelta) -> int:
        """Sums of hours longer ago than this."""
        return self._count(UsageRow, UsageRow.hour < _before(age))

    def drop_usage(self, age: timedelta) -> int:
        """They go at once: an hour has few."""
        return self._delete(UsageRow, UsageRow.hour < _before(age))

    def _pages(self, table: type[Base]) -> int:
        size = func.pg_relation_size(table.__tablename__)
        page = cast(func.current_setting("block_size"), BigInteger)
        return int(self._session.scalar(select(size / page)) or 0)

    def _count(self, table: type[Base], *conditions: ColumnElement[bool]) -> int:
        return int(self._session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0)

    def _delete(self, table: type[Base], *conditions: ColumnElement[bool]) -> int:
        done = self._session.execute(
            delete(table).where(*conditions).execution_options(synchronize_session=False)
        )
        return int(done.rowcount)  # type: ignore[attr-defined]


def _before(age: timedelta) -> ColumnElement[datetime]:
    return func.now() - age


def _ended_job(age: timedelta) -> ColumnElement[bool]:
    return and_(JobRow.status.in_(TERMINAL), JobRow.ended_at < _before(age))


def _forgotten_replica(age: timedelta) -> ColumnElement[bool]:
    named = exists().where(
        JobRow.engine_key == ReplicaRow.engine_key,
        JobRow.started_at <= ReplicaRow.ended_at,
        func.coalesce(JobRow.ended_at, func.now()) >= ReplicaRow.placed_at,
    )
    return and_(ReplicaRow.ended_at < _before(age), ~named)


def _old_response(age: timedelta) -> ColumnElement[bool]:
    live = exists().where(JobRow.fingerprint == ResponseRow.fingerprint, JobRow.status.not_in(TERMINAL))
    return and_(ResponseRow.created_at < _before(age), ~live)


def _forgotten_facts(age: timedelta) -> ColumnElement[bool]:
    named = exists().where(ResponseRow.fingerprint == EngineFactsRow.fingerprint)
    live = exists().where(JobRow.fingerprint == EngineFactsRow.fingerprint, JobRow.status.not_in(TERMINAL))
    return and_(EngineFactsRow.created_at < _before(age), ~named, ~live)


def _old_log(age: timedelta) -> ColumnElement[bool]:
    job = exists().where(JobRow.id == LogRow.owner_id, JobRow.status.not_in(TERMINAL))
    replica = exists().where(ReplicaRow.id == LogRow.owner_id, ReplicaRow.status.in_(LIVE))
    return and_(LogRow.at < _before(age), ~job, ~replica)


def _in_pages(first: int) -> ColumnElement[bool]:
    ctid: ColumnElement[str] = literal_column("ctid")
    return and_(ctid >= _start_of(first), ctid < _start_of(first + PAGES_AT_ONCE))


def _start_of(page: int) -> ColumnElement[str]:
    return literal_column(f"'({page:d},0)'::tid")
