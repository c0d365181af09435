"""What `evalq doctor` reads of the database: the server itself, and rows that tell that something is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, func, select, text, type_coerce
from sqlalchemy.orm import Session

from app.db.installed import installed_in
from app.db.tables import DeviceRow, GroupRow, JobRow, ReplicaRow
from app.domain.group import unusable
from app.domain.job import TERMINAL, JobStatus, Phase
from app.domain.replica import LIVE, DeviceState


@dataclass(frozen=True)
class ServerVitals:
    """The server, as it describes itself."""

    version: str
    version_number: int
    now: datetime
    connections: int
    connections_most: int
    size_bytes: int


@dataclass(frozen=True)
class GroupVitals:
    """A GPU group and how long ago its worker was heard of."""

    name: str
    host: str
    version: str
    backends: tuple[str, ...]
    silent: timedelta
    draining: bool
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Backends that are installed there and do not work, each with why."""


@dataclass(frozen=True)
class DeviceVitals:
    """A device that cannot be given out, or that an operator should look at."""

    id: str
    group: str
    state: DeviceState
    reason: str | None
    faulty: bool = False
    """Its hardware failed: only an operator gives it back."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobVitals:
    """A job that waits or runs, with what may be wrong with it; durations by the database's clock."""

    id: UUID
    backend: str
    phase: Phase | None
    waited: timedelta
    """Since it was posted."""
    overdue: timedelta | None
    """Since its lease ended; None where it has none."""
    quiet: timedelta
    """Since an engine gave something: an answer, or a part of one."""
    ignored: timedelta | None
    """Since its user asked it to stop; None if nobody did."""


class VitalsRepository:
    """Reads only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def server(self) -> ServerVitals:
        """Version, clock, connections and size."""
        row = self._session.execute(
            text(
                """SELECT current_setting('server_version'), current_setting('server_version_num')::int,
                clock_timestamp(), (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
                current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
                pg_database_size(current_database())"""
            )
        ).one()
        return ServerVitals(*row)

    def groups(self) -> list[GroupVitals]:
        """Every group that ever registered."""
        silent = _since(GroupRow.heartbeat_at)
        rows = self._session.execute(select(GroupRow, silent).order_by(GroupRow.name)).all()
        return [
            GroupVitals(
                row.name,
                row.host,
                row.version,
                tuple(row.backends),
                since,
                row.drain_requested_at is not None,
                unusable(installed_in(row)),
            )
            for row, since in rows
        ]

    def troubled(self) -> list[DeviceVitals]:
        """Devices that are neither free nor held, and those with warnings."""
        unusable = DeviceRow.state.in_([DeviceState.DIRTY, DeviceState.DRAINED])
        warned = func.jsonb_array_length(DeviceRow.traits["warnings"]) > 0
        query = select(DeviceRow).where(unusable | warned)
        rows = self._session.scalars(query.order_by(DeviceRow.group_name, DeviceRow.index))
        return [
            DeviceVitals(
                row.id,
                row.group_name,
                DeviceState(row.state),
                row.reason,
                row.faulty_at is not None,
                tuple((row.traits or {}).get("warnings", ())),
            )
            for row in rows
        ]

    def jobs(self, status: JobStatus, most: int) -> list[JobVitals]:
        """Jobs of a status, oldest first; not those that wait for what the cluster lacks: nothing is wrong there."""
        query = (
            select(
                JobRow,
                _since(JobRow.created_at),
                _since(JobRow.lease_expires_at),
                _since(func.coalesce(JobRow.progress_at, JobRow.created_at)),
                _since(JobRow.cancel_requested_at),
            )
            .where(JobRow.status == status, JobRow.waits_for.is_(None))
            .order_by(JobRow.created_at)
            .limit(most)
        )
        return [
            JobVitals(row.id, row.engine["backend"], Phase(row.phase) if row.phase else None, *durations)
            for row, *durations in self._session.execute(query)
        ]

    def ended(self, owners: Collection[UUID]) -> set[UUID]:
        """Those of these jobs, replicas and their spares that are stored and have ended."""
        jobs = select(JobRow.id).where(JobRow.id.in_(owners), JobRow.status.in_(TERMINAL))
        over = [
            select(marked).where(marked.in_(owners), ReplicaRow.status.not_in(LIVE))
            for marked in (ReplicaRow.id, ReplicaRow.spare_id)
        ]
        return {owner for query in (jobs, *over) for owner in self._session.scalars(query) if owner}


def _since(moment: Any) -> ColumnElement[timedelta]:
    return type_coerce(func.now() - moment, Interval)
