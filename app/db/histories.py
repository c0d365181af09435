"""What became of a job's engines: the replicas it had, and the remedies that led from one engine spec to the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.db.replicas import to_replica
from app.db.tables import JobRow, ReplicaRow
from app.db.wishes import may_be_answered_in
from app.domain.failure import Failure
from app.domain.replica import LIVE, Replica, ReplicaStatus


class HistoryRepository:
    """Reads only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def remedies(self, job_id: UUID) -> list[dict[str, Any]]:
        """The changes of the job's engine, oldest first; each names the engine that it left, and when."""
        query = select(JobRow.provenance["ladder"]).where(JobRow.id == job_id)
        return list(self._session.scalar(query) or ())

    def replicas(self, job_id: UUID) -> list[Replica]:
        """Replicas of the job's engine spec, where it may be answered, that lived while it ran, and of its earlier
        ones until it left them.

        A failure is told as the job may know it.
        """
        left = [
            and_(
                ReplicaRow.engine_key == remedy["engine_key"],
                ReplicaRow.placed_at <= datetime.fromisoformat(remedy["at"]),
            )
            for remedy in self.remedies(job_id)
        ]
        query = (
            select(ReplicaRow)
            .join(JobRow, JobRow.id == job_id)
            .where(
                or_(ReplicaRow.engine_key == JobRow.engine_key, *left),
                may_be_answered_in(ReplicaRow.group_name),
                ReplicaRow.placed_at <= func.coalesce(JobRow.ended_at, func.now()),
                func.coalesce(ReplicaRow.ended_at, func.now()) >= JobRow.started_at,
            )
        )
        rows = self._session.scalars(query.order_by(ReplicaRow.placed_at))
        return [to_replica(row).seen_by(job_id) for row in rows]

    def dead(self, replica_ids: Collection[UUID]) -> list[Replica]:
        """Those of the replicas that ended otherwise than by being released."""
        died = ReplicaRow.status.in_([ReplicaStatus.FAILED, ReplicaStatus.LOST])
        query = select(ReplicaRow).where(ReplicaRow.id.in_(replica_ids), died)
        return [to_replica(row) for row in self._session.scalars(query.order_by(ReplicaRow.placed_at))]

    def last_served_at(self, engine_key: str, group: str | None) -> datetime | None:
        """When a replica of this engine spec was last loaded, in the group if one is named."""
        query = select(func.max(ReplicaRow.serving_at)).where(
            ReplicaRow.engine_key == engine_key, *([ReplicaRow.group_name == group] if group else [])
        )
        return self._session.scalar(query)

    def failure_before(self, replica: Replica) -> Failure | None:
        """How the replica failed that had the same devices before, or None where it did not."""
        query = (
            select(ReplicaRow)
            .where(
                ReplicaRow.devices == list(replica.devices),
                ReplicaRow.placed_at < replica.placed_at,
                ReplicaRow.status.not_in(LIVE),
                ReplicaRow.claimed_at.is_not(None),
            )
            .order_by(ReplicaRow.placed_at.desc())
            .limit(1)
        )
        row = self._session.scalar(query)
        return to_replica(row).error if row else None

    def failed_lately(self, engine_keys: Sequence[str], seconds: float) -> list[tuple[Replica, float]]:
        """Replicas of these engine specs that failed within so many seconds, each with how many those are."""
        age = func.extract("epoch", func.clock_timestamp() - ReplicaRow.ended_at)
        query = select(ReplicaRow, age).where(
            ReplicaRow.engine_key == func.any(list(engine_keys)),
            ReplicaRow.status == ReplicaStatus.FAILED,
            age < seconds,
        )
        return [(to_replica(row), float(since)) for row, since in self._session.execute(query)]


def with_remedy(remedy: Mapping[str, Any]) -> Any:
    """The job's provenance with one more remedy, taken now: it may change scores slightly."""
    known = func.coalesce(JobRow.provenance, cast({}, JSONB))
    dated = cast(dict(remedy), JSONB).concat(func.jsonb_build_object(literal("at"), func.now()))
    taken = func.coalesce(known["ladder"], cast([], JSONB)).concat(func.jsonb_build_array(dated))
    return known.concat(func.jsonb_build_object(literal("ladder"), taken))
