"""Chunks given to replicas: whose turn it is, and where each job may be answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Row, ScalarSelect, Text, and_, cast, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.db.chunks import to_chunk
from app.db.tables import ChunkRow, JobRow, ReplicaRow
from app.db.wishes import may_be_answered_in, replicas_wish, wants_answers
from app.domain.chunk import Chunk, ChunkStatus
from app.domain.lease import Lease
from app.domain.replica import LIVE
from app.errors import LeaseLostError

JOBS_AT_ONCE = 4
"""Jobs of which one claim takes chunks."""

GIVES_WAY = timedelta(seconds=10)
"""So long after a failure a job lets others of its priority go first."""


class ClaimRepository:
    """The turn of a replica; everything under its lease."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, lease: Lease, engine_key: str, cost: float, most: int) -> list[tuple[Chunk, bytes]]:
        """Give the replica waiting chunks worth about `cost` tokens, at least one; with their fingerprint."""
        claimed: list[tuple[Chunk, bytes]] = []
        for job in self._jobs(lease, engine_key):
            if job.replicas is not None and not self._has_room(job.id, lease, job.replicas):
                continue
            left = cost - sum(chunk.cost for chunk, _ in claimed)
            if rows := self._pick(job.id, left, most - len(claimed), bool(claimed)):
                claimed += [(to_chunk(row), job.fingerprint or b"") for row in self._take(lease, rows)]
        return claimed

    def _jobs(self, lease: Lease, engine_key: str) -> Sequence[Row[UUID, bytes | None, int | None]]:
        """Jobs that the replica may answer, first come first; none of which a failed request is still to be judged."""
        group = select(ReplicaRow.group_name).where(ReplicaRow.id == lease.id).scalar_subquery()
        wish = replicas_wish()
        chunks = select(ChunkRow.id).where(ChunkRow.job_id == JobRow.id)
        waiting = chunks.where(ChunkRow.status == ChunkStatus.WAITING)
        unjudged = chunks.where(ChunkRow.status == ChunkStatus.FAILED, ~ChunkRow.collected)
        lately = waiting.where(ChunkRow.failures > 0, ChunkRow.ended_at > func.now() - GIVES_WAY)
        query = (
            select(JobRow.id, JobRow.fingerprint, wish.label("replicas"))
            .where(
                JobRow.engine_key == engine_key,
                wants_answers(),
                may_be_answered_in(group),
                waiting.exists(),
                ~unjudged.exists(),
                or_(wish.is_(None), _others(lease) < wish),
            )
            .order_by(JobRow.priority.desc(), lately.exists(), JobRow.created_at)
            .limit(JOBS_AT_ONCE)
        )
        return self._session.execute(query).all()

    def _has_room(self, job_id: UUID, lease: Lease, replicas: int) -> bool:
        """Whether fewer replicas than asked for are at the job; of those that look at once only one may join."""
        lock = func.pg_try_advisory_xact_lock(func.hashtextextended(cast(job_id, Text), 0))
        if not self._session.scalar(select(lock)):
            return False
        others = select(_others(lease)).where(JobRow.id == job_id)
        return (self._session.scalar(others) or 0) < replicas

    def _pick(self, job_id: UUID, cost: float, most: int, enough: bool) -> list[UUID]:
        """Waiting chunks in order; but one alone of those under generation settings that nothing was answered with."""
        waiting = (
            select(ChunkRow.id, ChunkRow.cost, cast(ChunkRow.gen_kwargs, Text).label("settings"))
            .where(ChunkRow.job_id == job_id, ChunkRow.status == ChunkStatus.WAITING)
            .order_by(ChunkRow.position, ChunkRow.cost)
            .limit(max(most, 0))
            .with_for_update(skip_locked=True)
        )
        picked: list[UUID] = []
        open_to = {None: True, "null": True}
        for row in self._session.execute(waiting).all():
            if (picked or enough) and row.cost > cost:
                break
            if row.settings not in open_to:
                open_to[row.settings] = self._is_proven(row.id)
            elif not open_to[row.settings]:
                continue
            picked.append(row.id)
            cost -= row.cost
        return picked

    def _is_proven(self, chunk_id: UUID) -> bool:
        """Whether a chunk of the same job and settings was answered."""
        this, other = aliased(ChunkRow), aliased(ChunkRow)
        alike = and_(
            other.job_id == this.job_id,
            other.gen_kwargs == this.gen_kwargs,
            other.status == ChunkStatus.ANSWERED,
        )
        found = select(other.id).join(this, alike).where(this.id == chunk_id).limit(1)
        return self._session.scalar(found) is not None

    def _take(self, lease: Lease, ids: Sequence[UUID]) -> list[ChunkRow]:
        live = select(ReplicaRow.id).where(
            ReplicaRow.id == lease.id,
            ReplicaRow.lease_token == lease.token,
            ReplicaRow.lease_expires_at > func.now(),
            ReplicaRow.status.in_(LIVE),
        )
        rows = self._session.scalars(
            update(ChunkRow)
            .where(ChunkRow.id.in_(ids), ChunkRow.status == ChunkStatus.WAITING, live.exists())
            .values(status=ChunkStatus.CLAIMED, replica_id=lease.id, token=lease.token, claimed_at=func.now())
            .returning(ChunkRow)
        ).all()
        if not rows:
            raise LeaseLostError(f"the lease on replica {lease.id} is lost")
        return sorted(rows, key=lambda row: row.position)


def _others(lease: Lease) -> ScalarSelect[int]:
    """Other replicas that hold chunks of the job that is looked at."""
    return (
        select(func.count(ChunkRow.replica_id.distinct()))
        .where(
            ChunkRow.job_id == JobRow.id,
            ChunkRow.status == ChunkStatus.CLAIMED,
            ChunkRow.replica_id != lease.id,
        )
        .correlate(JobRow)
        .scalar_subquery()
    )
