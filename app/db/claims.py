"""Chunks given to replicas: whose turn it is, and where each job may be answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    Text,
    and_,
    cast,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from app.db.chunks import to_chunk
from app.db.fence import replica_is_held, replica_lost
from app.db.line import in_line
from app.db.tables import ChunkRow, JobRow, ReplicaRow
from app.db.wishes import may_be_answered_in, replicas_wish, wants_answers
from app.domain.chunk import PENDING, Chunk, ChunkStatus, Room
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus

OVERDUE = timedelta(minutes=1)
"""So long a suspect waits for an engine with nothing in its hands; then engines make room for it."""

JOBS_AT_ONCE = 4
"""Jobs of which one claim takes chunks."""

LOOKED_AT = 32
"""Jobs in line that are looked at first; these nearly always have chunks to give."""

MOST_LOOKED_AT = 2048
"""Where they have none, four times as many are looked at each time, but no more than this."""

Candidate: TypeAlias = tuple[UUID, int, bytes | None, int | None, bool]
"""A job, its priority, its fingerprint, how many replicas it wishes, and whether it has suspects."""

MOST_SUMMED = 1024
"""Jobs of which it is summed up what is left."""

MOST_HELD = 256
"""Chunks that a replica has in hand, or will have after a claim: more are none of them."""

GIVES_WAY = timedelta(seconds=10)
"""So long after a failure a job lets others of its priority go first."""


class ClaimRepository:
    """The turn of a replica; everything under its lease."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, lease: Lease, engine_key: str, room: Room) -> list[tuple[Chunk, bytes]]:
        """Give the replica what it has room for, with the fingerprint of each; a suspect alone."""
        if room.requests is not None:
            room = room.bounded(*self._left(lease, engine_key))
        claimed: list[tuple[Chunk, bytes]] = []
        for job in self._jobs(lease, engine_key):
            if room.full:
                break
            if job.replicas is not None and not self._has_room(job.id, lease, job.replicas):
                continue
            suspect = self._suspect(job.id) if job.suspects else None
            if suspect is not None and room.empty and not claimed:
                return self._take(lease, [suspect.id], job.fingerprint)
            if suspect is not None and suspect.overdue:
                break
            if picked := self._pick(lease, job.id, room):
                taken = self._take(lease, picked, job.fingerprint)
                for chunk, _ in taken:
                    room = room.without(chunk.cost, len(chunk.keys))
                claimed += taken
        return claimed

    def _left(self, lease: Lease, engine_key: str) -> tuple[float, int]:
        """Tokens that are still to be answered by replicas like this one, and how many of these there are.

        Where much is left only a part of it is summed up: it is more than these replicas can hold.
        """
        replicas = select(func.count()).where(
            ReplicaRow.engine_key == engine_key,
            ReplicaRow.status == ReplicaStatus.SERVING,
            ReplicaRow.release_requested_at.is_(None),
        )
        jobs = _line(lease, engine_key).limit(MOST_SUMMED).subquery()
        some = (
            select(ChunkRow.cost)
            .join(jobs, jobs.c.id == ChunkRow.job_id)
            .where(ChunkRow.status.in_(PENDING))
            .limit(MOST_HELD * (func.greatest(replicas.scalar_subquery(), 1)))
            .subquery()
        )
        pending = select(func.coalesce(func.sum(some.c.cost), 0.0))
        cost, count = self._session.execute(
            select(pending.scalar_subquery(), replicas.scalar_subquery())
        ).one()
        return float(cost), int(count)

    def _suspect(self, job_id: UUID) -> Row[UUID, bool] | None:
        """The first suspect of the job, and whether it has waited so long that others make way for it."""
        query = (
            select(ChunkRow.id, (ChunkRow.ended_at < func.now() - OVERDUE).label("overdue"))
            .where(ChunkRow.job_id == job_id, ChunkRow.status == ChunkStatus.WAITING, ChunkRow.suspect)
            .order_by(ChunkRow.position, ChunkRow.cost)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return self._session.execute(query).one_or_none()

    def _jobs(self, lease: Lease, engine_key: str) -> Sequence[Row[*Candidate]]:
        """The first jobs in line that the replica may answer; none of which a failed request is still to be judged."""
        found = [*self._steady(lease, engine_key), *self._giving_way(lease, engine_key)]
        return sorted(found, key=lambda job: -job.priority)[:JOBS_AT_ONCE]

    def _steady(self, lease: Lease, engine_key: str) -> list[Row[*Candidate]]:
        """Looked for along an index, some jobs at a time: else all that need this engine are looked at each time."""
        answerable = _answerable(lease, engine_key).where(~_any(_failed_lately(JobRow.id)))
        found: list[Row[*Candidate]] = []
        start, most = 0, LOOKED_AT
        while len(found) < JOBS_AT_ONCE:
            ids = self._in_line(lease, engine_key, start, most)
            found += self._session.execute(answerable.where(JobRow.id.in_(ids))).all()
            if len(ids) < most:
                break
            start, most = start + most, min(4 * most, MOST_LOOKED_AT)
        return found

    def _in_line(self, lease: Lease, engine_key: str, start: int, most: int) -> Sequence[UUID]:
        return self._session.scalars(_line(lease, engine_key).offset(start).limit(most)).all()

    def _giving_way(self, lease: Lease, engine_key: str) -> Sequence[Row[*Candidate]]:
        """Those of which a chunk failed just now."""
        few = JobRow.id.in_(_failed_lately(ChunkRow.job_id))
        return self._session.execute(_answerable(lease, engine_key).where(few)).all()

    def _has_room(self, job_id: UUID, lease: Lease, replicas: int) -> bool:
        """Whether fewer replicas than asked for are at the job; of those that look at once only one may join."""
        lock = func.pg_try_advisory_xact_lock(func.hashtextextended(cast(job_id, Text), 0))
        if not self._session.scalar(select(lock)):
            return False
        others = select(_others(lease)).where(JobRow.id == job_id)
        return (self._session.scalar(others) or 0) < replicas

    def _pick(self, lease: Lease, job_id: UUID, room: Room) -> list[UUID]:
        """Waiting chunks in order; but one alone of those under generation settings that nothing was answered with."""
        waiting = (
            select(
                ChunkRow.id,
                ChunkRow.cost,
                func.cardinality(ChunkRow.keys).label("requests"),
                cast(ChunkRow.gen_kwargs, Text).label("settings"),
            )
            .where(ChunkRow.job_id == job_id, ChunkRow.status == ChunkStatus.WAITING, ~ChunkRow.suspect)
            .order_by(ChunkRow.position, ChunkRow.cost)
            .limit(room.most)
            .with_for_update(skip_locked=True)
        )
        picked: list[UUID] = []
        open_to = {None: True, "null": True}
        for row in self._session.execute(waiting).all():
            if not room.holds(row.cost):
                break
            if row.settings not in open_to:
                open_to[row.settings] = self._is_proven(row.id)
                if not open_to[row.settings] and self._is_tried(lease, row.id):
                    continue
            elif not open_to[row.settings]:
                continue
            picked.append(row.id)
            room = room.without(row.cost, row.requests)
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

    def _is_tried(self, lease: Lease, chunk_id: UUID) -> bool:
        """Whether the replica has a chunk of the same job and settings in hand."""
        this, other = aliased(ChunkRow), aliased(ChunkRow)
        alike = and_(
            other.job_id == this.job_id,
            other.gen_kwargs == this.gen_kwargs,
            other.status == ChunkStatus.CLAIMED,
            other.replica_id == lease.id,
        )
        found = select(other.id).join(this, alike).where(this.id == chunk_id).limit(1)
        return self._session.scalar(found) is not None

    def _take(
        self, lease: Lease, ids: Sequence[UUID], fingerprint: bytes | None
    ) -> list[tuple[Chunk, bytes]]:
        rows = self._session.scalars(
            update(ChunkRow)
            .where(ChunkRow.id.in_(ids), ChunkRow.status == ChunkStatus.WAITING, replica_is_held(lease))
            .values(status=ChunkStatus.CLAIMED, replica_id=lease.id, token=lease.token, claimed_at=func.now())
            .returning(ChunkRow)
        ).all()
        if not rows:
            raise replica_lost(lease)
        return [(to_chunk(row), fingerprint or b"") for row in sorted(rows, key=lambda row: row.position)]


def _line(lease: Lease, engine_key: str) -> Select[UUID]:
    """Running jobs that need this engine and may be answered by this replica, first in line first."""
    jobs = select(JobRow.id).where(JobRow.engine_key == engine_key, wants_answers())
    return jobs.where(may_be_answered_in(_group(lease))).order_by(*in_line())


def _failed_lately(job_id: SQLColumnExpression[UUID]) -> Select[UUID]:
    """The job of each chunk that waits after a failure that is not long ago."""
    return select(ChunkRow.job_id).where(
        ChunkRow.job_id == job_id,
        ChunkRow.status == ChunkStatus.WAITING,
        ChunkRow.failures > 0,
        ChunkRow.ended_at > func.now() - GIVES_WAY,
    )


def _answerable(lease: Lease, engine_key: str) -> Select[*Candidate]:
    """The first in line of the jobs that may be answered by this replica and have chunks to give."""
    wish = replicas_wish()
    chunks = select(ChunkRow.id).where(ChunkRow.job_id == JobRow.id)
    waiting = chunks.where(ChunkRow.status == ChunkStatus.WAITING)
    unjudged = chunks.where(ChunkRow.status == ChunkStatus.FAILED, ~ChunkRow.collected)
    query = select(
        JobRow.id,
        JobRow.priority,
        JobRow.fingerprint,
        wish.label("replicas"),
        _any(waiting.where(ChunkRow.suspect)).label("suspects"),
    ).where(
        JobRow.engine_key == engine_key,
        wants_answers(),
        may_be_answered_in(_group(lease)),
        _any(waiting),
        ~_any(unjudged),
        or_(wish.is_(None), _others(lease) < wish),
    )
    return query.order_by(*in_line()).limit(JOBS_AT_ONCE)


def _any(chunks: Select[UUID]) -> ColumnElement[bool]:
    """Whether the job that is looked at has such a chunk; as EXISTS it would be joined for all jobs of the engine."""
    return chunks.correlate(JobRow).limit(1).scalar_subquery().is_not(None)


def _group(lease: Lease) -> ScalarSelect[str]:
    return select(ReplicaRow.group_name).where(ReplicaRow.id == lease.id).scalar_subquery()


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
