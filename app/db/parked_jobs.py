"""Running jobs whose requests all wait in chunks: kept without a coordinator's place, until they are due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.fence import parked_jobs_held
from app.db.job_leases import JobLeaseRepository, asked
from app.db.line import in_line, wait_for_the_line
from app.db.tables import ChunkRow, JobRow, ReplicaRow
from app.db.wishes import can_be_claimed, has_stopped, is_due, is_parked
from app.domain.chunk import PENDING, ChunkStatus
from app.domain.ids import uuid7
from app.domain.lease import Lease, Order
from app.domain.parking import Stir
from app.domain.replica import LIVE

AGAIN = "building its prompts again, to go on from its answers"
"""What a job does that has its place again."""

NOBODY = {"lease_token": None, "lease_expires_at": None, "lease_holder": None}

WAITED = timedelta(seconds=1)
"""So long a job was announced, or is due, before others make room for it."""


class ParkedJobRepository:
    """Park, keep, give back; who keeps a job holds its lease."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def park(self, lease: Lease) -> None:
        """From now on the job needs no place; what it stores is counted once. LeaseLostError."""
        stored = select(func.coalesce(func.sum(func.octet_length(ChunkRow.payload)), 0)).where(
            ChunkRow.job_id == lease.id
        )
        JobLeaseRepository(self._session).write(
            lease, parked_at=func.now(), due_at=None, parked_bytes=stored.scalar_subquery()
        )

    def free(self, lease: Lease, stored_bytes: int) -> None:
        """So much of what the job stored is gone. LeaseLostError."""
        left = func.greatest(JobRow.parked_bytes - stored_bytes, 0)
        JobLeaseRepository(self._session).write(lease, parked_bytes=left)

    def wants_room(self, lease: Lease, most_bytes: int) -> bool:
        """Whether a job is kept from a place that this one could do without: one that is due, or else a queued one,
        unless that would be prepared beyond what may be stored and is not more urgent.
        """
        due = exists().where(is_due(), JobRow.due_at < func.now() - WAITED)
        queued = exists().where(can_be_claimed(), JobRow.sent_at < func.now() - WAITED)
        own = select(JobRow.priority).where(JobRow.id == lease.id).scalar_subquery()
        urgent = exists().where(can_be_claimed(), JobRow.priority > own)
        stored = select(func.coalesce(func.sum(JobRow.parked_bytes), 0)).where(is_parked())
        query = select(or_(due, urgent, and_(queued, stored.scalar_subquery() < most_bytes)))
        return bool(self._session.scalar(query))

    def adopt(self, holder: str, ttl: timedelta, most: int) -> list[Lease]:
        """Keep parked jobs that nobody does, some at a time; a due one only where its user wants something."""
        nobodys = and_(is_parked(), JobRow.lease_token.is_(None))
        kept = or_(JobRow.due_at.is_(None), has_stopped())
        found = self._session.scalars(
            select(JobRow.id)
            .where(nobodys, kept)
            .limit(most)
            .with_for_update(skip_locked=True, key_share=True)
        )
        leases = [Lease(job_id, uuid7()) for job_id in found]
        for lease in leases:
            self._session.execute(
                update(JobRow)
                .where(JobRow.id == lease.id)
                .values(
                    lease_token=lease.token,
                    lease_holder=holder,
                    lease_expires_at=func.now() + ttl,
                    due_at=None,
                    version=JobRow.version + 1,
                )
                .execution_options(synchronize_session=False)
            )
        return leases

    def renew(self, leases: Sequence[Lease], ttl: timedelta) -> None:
        """Extend those that still hold; one that somebody else is writing is left for the next time."""
        mine = (
            select(JobRow.id)
            .where(parked_jobs_held(leases))
            .with_for_update(skip_locked=True, key_share=True)
        )
        self._session.execute(
            update(JobRow)
            .where(JobRow.id.in_(mine))
            .values(lease_expires_at=func.now() + ttl)
            .execution_options(synchronize_session=False)
        )

    def stirs(self, leases: Sequence[Lease]) -> dict[UUID, Stir]:
        """What goes on around those that the leases still hold."""

        def has(*which: ColumnElement[bool]) -> ColumnElement[bool]:
            return exists().where(ChunkRow.job_id == JobRow.id, *which)

        claimed = has(ChunkRow.status == ChunkStatus.CLAIMED)
        answered = has(ChunkRow.status == ChunkStatus.ANSWERED, ~ChunkRow.collected)
        unjudged = has(ChunkRow.status == ChunkStatus.FAILED, ~ChunkRow.collected)
        pending = has(ChunkRow.status.in_(PENDING))
        columns = (JobRow.id, JobRow.engine_key, *asked(), or_(claimed, answered), pending, unjudged)
        rows = self._session.execute(select(*columns).where(parked_jobs_held(leases)))
        engines = self._engines()
        return {
            job_id: Stir(Order.of(*wishes), answering, left, failed, engines.get(engine, frozenset()))
            for job_id, engine, *wishes, answering, left, failed in rows
        }

    def _engines(self) -> dict[str, frozenset[str]]:
        query = select(ReplicaRow.engine_key, ReplicaRow.id, ReplicaRow.status)
        found: dict[str, set[str]] = defaultdict(set)
        for engine, replica_id, status in self._session.execute(query.where(ReplicaRow.status.in_(LIVE))):
            found[engine].add(f"{replica_id} {status}")
        return {engine: frozenset(replicas) for engine, replicas in found.items()}

    def give_back(self, lease: Lease, reason: str) -> None:
        """The job wants a place: nobody keeps it, and it is announced. LeaseLostError."""
        JobLeaseRepository(self._session).write(
            lease, due_at=func.now(), sent_at=None, reason=reason, **NOBODY
        )

    def let_go(self, leases: Sequence[Lease]) -> None:
        """Somebody else may keep those that still hold."""
        mine = (
            select(JobRow.id)
            .where(parked_jobs_held(leases))
            .with_for_update(skip_locked=True, key_share=True)
        )
        statement = update(JobRow).where(JobRow.id.in_(mine)).values(version=JobRow.version + 1, **NOBODY)
        self._session.execute(statement.execution_options(synchronize_session=False))

    def announce(self, resend_after: timedelta, among: int) -> list[UUID]:
        """Of the first `among` that are due, mark as sent those not announced lately; returns them."""
        due = select(JobRow.id).where(is_due()).order_by(*in_line()).limit(among)
        fresh = or_(JobRow.sent_at.is_(None), JobRow.sent_at <= func.now() - resend_after)
        rows = self._session.scalars(
            update(JobRow)
            .where(JobRow.id.in_(due.with_for_update(skip_locked=True, key_share=True)), fresh)
            .values(sent_at=func.now())
            .returning(JobRow.id)
            .execution_options(synchronize_session=False)
        )
        return list(rows)

    def claim_first(self, holder: str, ttl: timedelta) -> Lease | None:
        """Give the due job that is served next its place again, unless a queued one is more urgent."""
        self._session.execute(wait_for_the_line())
        urgent = select(func.max(JobRow.priority)).where(can_be_claimed()).scalar_subquery()
        due = select(JobRow.id).where(is_due(), JobRow.priority >= func.coalesce(urgent, JobRow.priority))
        first = due.order_by(*in_line()).limit(1).with_for_update(skip_locked=True, key_share=True)
        job_id = self._session.scalar(first)
        if job_id is None:
            return None
        lease = Lease(job_id, uuid7())
        self._session.execute(
            update(JobRow)
            .where(JobRow.id == lease.id)
            .values(
                parked_at=None,
                due_at=None,
                parked_bytes=None,
                reason=AGAIN,
                lease_token=lease.token,
                lease_holder=holder,
                lease_expires_at=func.now() + ttl,
                version=JobRow.version + 1,
            )
        )
        return lease
