"""What engines said of themselves when they were loaded: by job, and kept by fingerprint."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import exists, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import ChunkRow, EngineFactsRow, ReplicaRow
from app.domain.chunk import ChunkStatus


class EngineFactsRepository:
    """Notes once, reads for a job."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, fingerprint: bytes, replica_id: UUID) -> None:
        """Keep what this replica said of itself beside its first answer under a fingerprint; the first one stands."""
        known = exists().where(EngineFactsRow.fingerprint == fingerprint)
        said = select(literal(fingerprint), ReplicaRow.provenance).where(
            ReplicaRow.id == replica_id, ReplicaRow.provenance.is_not(None), ~known
        )
        columns = [EngineFactsRow.fingerprint, EngineFactsRow.facts]
        self._session.execute(insert(EngineFactsRow).from_select(columns, said).on_conflict_do_nothing())

    def of_job(self, job_id: UUID, fingerprint: bytes) -> dict[str, Any] | None:
        """What the engine said that answered the job, else one that answered under the same fingerprint before."""
        own = (
            select(ReplicaRow.provenance)
            .join(ChunkRow, ChunkRow.replica_id == ReplicaRow.id)
            .where(ChunkRow.job_id == job_id, ChunkRow.status == ChunkStatus.ANSWERED)
            .order_by(ReplicaRow.serving_at, ReplicaRow.id)
            .limit(1)
        )
        kept = select(EngineFactsRow.facts).where(EngineFactsRow.fingerprint == fingerprint)
        return self._session.scalar(own) or self._session.scalar(kept)
