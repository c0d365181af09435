"""Rows of `chunks` and `responses`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, cast, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.db.fence import in_hand
from app.db.tables import ChunkRow, JobRow, ResponseRow
from app.db.wishes import has_stopped
from app.domain.chunk import PENDING, Chunk, ChunkStatus
from app.domain.failure import Failure
from app.domain.job import TERMINAL
from app.domain.lease import Lease
from app.domain.parking import Gathered
from app.errors import ChunkLostError

NO_HEADWAY = {"requests_done": 0, "cost_done": 0.0}
"""A chunk that waits again is answered from its beginning."""


Stored: TypeAlias = tuple[bytes, bytes, bytes | None]
"""A response: its key, itself, and its note where it was stored with one."""


@dataclass(frozen=True)
class Collected:
    """Answers and failures of chunks that the coordinator had not seen."""

    responses: list[Stored]
    failures: list[tuple[bytes, Failure]]
    seconds: float
    """On engines."""
    cost: float
    """Tokens that were answered, as estimated when the chunks were cut."""
    cost_failed: float
    """Those that were not and will not be."""


class ChunkRepository:
    """The queue at lm-eval's seam: insert, claim, answer, give back."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, chunks: Iterable[Chunk], *, tried: bool = False) -> None:
        """Insert waiting chunks; parts of one that was `tried` know when that was."""
        rows = [
            {
                "id": chunk.id,
                "job_id": chunk.job_id,
                "position": chunk.position,
                "kind": chunk.kind,
                "batch_size": str(chunk.batch_size),
                "gen_kwargs": dict(chunk.gen_kwargs) if chunk.gen_kwargs is not None else None,
                "seed": chunk.seed,
                "cost": chunk.cost,
                "keys": list(chunk.keys),
                "payload": chunk.payload,
                "status": chunk.status,
                "failures": chunk.failures,
                "suspect": chunk.suspect,
            }
            for chunk in chunks
        ]
        if rows:
            statement = insert(ChunkRow).values(ended_at=func.now()) if tried else insert(ChunkRow)
            self._session.execute(statement, rows)

    def answer(
        self,
        lease: Lease,
        chunk: Chunk,
        fingerprint: bytes,
        responses: Sequence[tuple[bytes, bytes | None]],
        seconds: float,
    ) -> None:
        """Store the answers, each with its note, and close the chunk, together; ChunkLostError when it is not ours."""
        self._close(lease, chunk.id, status=ChunkStatus.ANSWERED, seconds=seconds)
        unique = dict(zip(chunk.keys, responses, strict=True))
        rows = [
            {"fingerprint": fingerprint, "key": key, "value": value, "note": note}
            for key, (value, note) in sorted(unique.items())
        ]
        self._session.execute(upsert(ResponseRow).on_conflict_do_nothing(), rows)

    def put_back(self, lease: Lease, chunk: Chunk) -> None:
        """The chunk waits again, with its counts as given."""
        self._close(
            lease,
            chunk.id,
            status=ChunkStatus.WAITING,
            failures=chunk.failures,
            interruptions=chunk.interruptions,
            suspect=chunk.suspect,
            replica_id=None,
            **NO_HEADWAY,
        )

    def close(self, lease: Lease, chunk: Chunk, status: ChunkStatus, error: Failure) -> None:
        """End a chunk without an answer."""
        self._close(lease, chunk.id, status=status, error=error.to_json(), failures=chunk.failures)

    def _close(self, lease: Lease, chunk_id: UUID, **values: Any) -> None:
        done = self._session.execute(
            update(ChunkRow)
            .where(ChunkRow.id == chunk_id, in_hand(lease))
            .values(token=None, ended_at=func.now(), **values)
            .execution_options(synchronize_session=False)
        )
        if not done.rowcount:  # type: ignore[attr-defined]
            raise ChunkLostError(f"chunk {chunk_id} is not held by replica {lease.id} any more")

    def interrupt(self, replica_ids: Sequence[UUID]) -> None:
        """What lost replicas had in hand: a chunk that was alone is interrupted, each of several is suspected."""
        held = and_(ChunkRow.replica_id.in_(replica_ids), ChunkRow.status == ChunkStatus.CLAIMED)
        alone = (
            select(ChunkRow.replica_id).where(held).group_by(ChunkRow.replica_id).having(func.count() == 1)
        )
        of_one = ChunkRow.replica_id.in_(alone)
        self._session.execute(
            update(ChunkRow)
            .where(held)
            .values(
                interruptions=ChunkRow.interruptions + cast(of_one, Integer),
                suspect=or_(ChunkRow.suspect, ~of_one),
                ended_at=func.now(),
            )
            .execution_options(synchronize_session=False)
        )

    def suspect(self, replica_id: UUID, chunk_ids: Sequence[UUID]) -> None:
        """Those of the chunks that the replica still holds are to be sent alone from now on."""
        self._session.execute(
            update(ChunkRow)
            .where(
                ChunkRow.id.in_(chunk_ids),
                ChunkRow.replica_id == replica_id,
                ChunkRow.status == ChunkStatus.CLAIMED,
            )
            .values(suspect=True, ended_at=func.now())
            .execution_options(synchronize_session=False)
        )

    def wanted(self, lease: Lease, chunk_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the chunks that are still this replica's, and whose jobs have not stopped."""
        query = (
            select(ChunkRow.id)
            .join(JobRow, JobRow.id == ChunkRow.job_id)
            .where(ChunkRow.id.in_(chunk_ids), in_hand(lease), ~has_stopped())
        )
        return list(self._session.scalars(query))

    def give_back(self, replica_ids: Sequence[UUID], keep: Sequence[UUID] = ()) -> int:
        """Claimed chunks of these replicas wait again, but for those to keep; returns how many."""
        done = self._session.execute(
            update(ChunkRow)
            .where(
                ChunkRow.replica_id.in_(replica_ids),
                ChunkRow.status == ChunkStatus.CLAIMED,
                ChunkRow.id.not_in(keep),
            )
            .values(status=ChunkStatus.WAITING, replica_id=None, token=None, **NO_HEADWAY)
            .execution_options(synchronize_session=False)
        )
        return int(done.rowcount)  # type: ignore[attr-defined]

    def drop(self, job_id: UUID, *, claimed: bool = False) -> None:
        """Forget a job's chunks: it ended, or its plan is made anew; `claimed` takes those from their replicas too."""
        statement = delete(ChunkRow).where(ChunkRow.job_id == job_id)
        self._session.execute(
            statement if claimed else statement.where(ChunkRow.status != ChunkStatus.CLAIMED)
        )

    def withdraw(self, job_id: UUID, keys: Collection[bytes]) -> int:
        """Forget the chunks that ask for nothing else, from replicas too, which learn it when they answer; how many."""
        query = select(ChunkRow.id, ChunkRow.keys).where(
            ChunkRow.job_id == job_id, ChunkRow.status.in_(PENDING)
        )
        unwanted = set(keys)
        gone = [row.id for row in self._session.execute(query) if unwanted.issuperset(row.keys)]
        done = self._session.execute(
            delete(ChunkRow).where(ChunkRow.id == func.any(gone)).where(ChunkRow.status.in_(PENDING))
        )
        return int(done.rowcount)  # type: ignore[attr-defined]

    def drop_ended(self) -> int:
        """Forget chunks that were still worked on when their job ended."""
        ended = select(JobRow.id).where(JobRow.status.in_(TERMINAL))
        done = self._session.execute(
            delete(ChunkRow).where(ChunkRow.job_id.in_(ended), ChunkRow.status != ChunkStatus.CLAIMED)
        )
        return int(done.rowcount)  # type: ignore[attr-defined]

    def pending_keys(self, job_id: UUID) -> set[bytes]:
        """Keys in stored chunks that are still to be answered."""
        query = select(ChunkRow.keys).where(ChunkRow.job_id == job_id, ChunkRow.status.in_(PENDING))
        return {key for keys in self._session.scalars(query) for key in keys}

    def failures(self, job_id: UUID) -> dict[bytes, Failure]:
        """Requests that no engine could answer since the job's last retry, told or not."""
        query = select(ChunkRow.keys, ChunkRow.error).where(
            ChunkRow.job_id == job_id, ChunkRow.status == ChunkStatus.FAILED
        )
        found = self._session.execute(query)
        return {bytes(key): Failure.from_json(row.error) for row in found for key in row.keys}

    def count_answered(self, job_id: UUID) -> Gathered:
        """Chunks that were answered since the last look, marked as seen; those that failed are still to be judged."""
        answered = select(ChunkRow.id, func.octet_length(ChunkRow.payload).label("bytes"))
        answered = answered.where(uncollected(job_id), ChunkRow.status == ChunkStatus.ANSWERED)
        stored = answered.with_for_update().subquery()
        rows = self._session.execute(
            update(ChunkRow)
            .where(ChunkRow.id == stored.c.id)
            .values(collected=True, payload=None)
            .returning(func.cardinality(ChunkRow.keys), ChunkRow.seconds, ChunkRow.cost, stored.c.bytes)
            .execution_options(synchronize_session=False)
        ).all()
        return Gathered(
            sum(count for count, _, _, _ in rows),
            sum(seconds or 0.0 for _, seconds, _, _ in rows),
            sum(cost for _, _, cost, _ in rows),
            sum(size or 0 for _, _, _, size in rows),
        )

    def pending_requests(self, job_id: UUID) -> int:
        """How many requests are still to be answered."""
        query = select(func.coalesce(func.sum(func.cardinality(ChunkRow.keys)), 0)).where(
            ChunkRow.job_id == job_id, ChunkRow.status.in_(PENDING)
        )
        return int(self._session.scalar(query) or 0)

    def pending_cost(self, job_id: UUID) -> float:
        """Tokens in stored chunks that are still to be answered."""
        query = select(func.coalesce(func.sum(ChunkRow.cost), 0.0)).where(
            ChunkRow.job_id == job_id, ChunkRow.status.in_(PENDING)
        )
        return float(self._session.scalar(query) or 0.0)

    def collect(self, job_id: UUID, fingerprint: bytes) -> Collected:
        """Chunks that ended since the last look, with their answers; marks them as seen."""
        rows = self._session.execute(
            update(ChunkRow)
            .where(uncollected(job_id))
            .values(collected=True, payload=None)
            .returning(ChunkRow.status, ChunkRow.keys, ChunkRow.error, ChunkRow.seconds, ChunkRow.cost)
            .execution_options(synchronize_session=False)
        ).all()
        answered = [row for row in rows if row.status == ChunkStatus.ANSWERED]
        failures = [
            (key, Failure.from_json(row.error))
            for row in rows
            if row.status == ChunkStatus.FAILED
            for key in row.keys
        ]
        keys = [key for row in answered for key in row.keys]
        seconds = sum(row.seconds or 0.0 for row in rows)
        cost = sum(row.cost for row in answered)
        cost_failed = sum(row.cost for row in rows) - cost
        return Collected(self.find(fingerprint, keys), failures, seconds, cost, cost_failed)

    def find(self, fingerprint: bytes, keys: Sequence[bytes]) -> list[Stored]:
        """Stored answers among these keys."""
        if not keys:
            return []
        query = select(ResponseRow.key, ResponseRow.value, ResponseRow.note).where(
            ResponseRow.fingerprint == literal(fingerprint), ResponseRow.key == func.any(list(set(keys)))
        )
        return [
            (bytes(key), bytes(value), None if note is None else bytes(note))
            for key, value, note in self._session.execute(query)
        ]


def uncollected(job_id: UUID) -> ColumnElement[bool]:
    """Chunks that ended, which the job's coordinator has not seen; said as their index says it."""
    return and_(
        ChunkRow.job_id == job_id,
        ChunkRow.status.in_([ChunkStatus.ANSWERED, ChunkStatus.FAILED]),
        ~ChunkRow.collected,
    )


def to_chunk(row: ChunkRow) -> Chunk:
    """A row as the rules see it."""
    return Chunk(
        id=row.id,
        job_id=row.job_id,
        position=row.position,
        kind=row.kind,
        batch_size=int(row.batch_size) if row.batch_size.isdigit() else row.batch_size,
        gen_kwargs=row.gen_kwargs,
        seed=row.seed,
        cost=row.cost,
        keys=tuple(bytes(key) for key in row.keys),
        payload=row.payload or b"",
        status=ChunkStatus(row.status),
        failures=row.failures,
        interruptions=row.interruptions,
        suspect=row.suspect,
    )
