"""How far engines are inside the chunks in their hands: told by who holds them, read by who shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import BigInteger, Double, Uuid, column, func, literal, select, union_all, update, values
from sqlalchemy.orm import Session

from app.db.chunks import uncollected
from app.db.fence import in_hand
from app.db.tables import ChunkRow
from app.domain.chunk import ChunkStatus
from app.domain.headway import Headway
from app.domain.lease import Lease


class HeadwayRepository:
    """Columns of `chunks` that mean something while a chunk is claimed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, lease: Lease, headway: Mapping[UUID, Headway]) -> int:
        """Write how far these chunks are, where the lease holds them; how many it wrote.

        Waits for nobody: a chunk that somebody else writes now is told of again a moment later, or is gone.
        """
        columns = (column("id", Uuid), column("requests", BigInteger), column("cost", Double))
        rows = [(chunk_id, each.requests, each.cost) for chunk_id, each in headway.items()]
        told = values(*columns, name="told").data(rows)
        held = select(ChunkRow.id).where(ChunkRow.id.in_(headway), in_hand(lease))
        held = held.with_for_update(skip_locked=True)
        done = self._session.execute(
            update(ChunkRow)
            .where(ChunkRow.id == told.c.id, ChunkRow.id.in_(held))
            .values(requests_done=told.c.requests, cost_done=told.c.cost)
            .execution_options(synchronize_session=False)
        )
        return int(done.rowcount)  # type: ignore[attr-defined]

    def of_job(self, job_id: UUID, replica_ids: Sequence[UUID]) -> tuple[dict[UUID, Headway], int]:
        """By replica that answers the job, how far it is with that; and requests of chunks that nobody has collected.

        One statement, so that a chunk that is answered meanwhile is found in one of the two.
        """
        hands = select(ChunkRow.replica_id, ChunkRow.requests_done, ChunkRow.cost_done).where(
            ChunkRow.status == ChunkStatus.CLAIMED,
            ChunkRow.replica_id.in_(replica_ids),
            ChunkRow.job_id == job_id,
        )
        ended = select(literal(None, Uuid), func.cardinality(ChunkRow.keys), literal(0.0)).where(
            uncollected(job_id)
        )
        found: dict[UUID, Headway] = {}
        not_collected = 0
        for replica_id, requests, cost in self._session.execute(union_all(hands, ended)):
            if replica_id is None:
                not_collected += requests
            else:
                found[replica_id] = found.get(replica_id, Headway()) + Headway(requests, cost)
        return found, not_collected
