"""What replicas charge for their devices, each in rows of its own; the scheduler adds them to `usage`.

Called in the transaction that writes what happened, behind that write's guard: both are there, or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import ChargeRow, ChunkRow, JobRow, ReplicaRow
from app.domain.chunk import ChunkStatus
from app.domain.ledger import NOBODY, Charge, Outcome, Span, last_of, waited
from app.domain.line import Account
from app.domain.replica import ReplicaStatus


@dataclass(frozen=True)
class _Since:
    """A replica, and its time since it was last charged."""

    id: UUID
    model: str
    loaded: bool
    early: bool
    """Started before there was anything to answer, and has answered nothing."""
    span: Span


class LedgerRepository:
    """Closes the span since a replica was last charged, and says what it was; replicas are locked before charges."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def loaded(self, replica_id: UUID) -> None:
        """Until now it was loading."""
        self._close([replica_id], lambda replica: replica.span.charged(Outcome.LOADING))

    def idle(self, replica_id: UUID) -> None:
        """Until now it had nothing to do, if it is told to be idle."""
        told = ReplicaRow.idle_since.is_not(None)
        self._close([replica_id], lambda replica: replica.span.charged(waited(early=replica.early)), told)

    def answered(self, replica_id: UUID, job_id: UUID, seconds: float) -> None:
        """It answered a chunk of the job in its last `seconds`."""
        owner = self._owner(job_id)
        self._close([replica_id], lambda replica: replica.span.answered(seconds, owner))

    def failed(self, replica_id: UUID, job_id: UUID | None) -> None:
        """Until now it worked on a chunk of the job that is not answered; nobody's, where the job is no more."""
        owner = self._owner(job_id)
        self._close([replica_id], lambda replica: replica.span.charged(Outcome.FAILED, owner))

    def taken_away(self, replica_id: UUID, chunk_id: UUID) -> None:
        """Until now it worked on a chunk that nobody wants any more, or that is gone with its job."""
        job = select(ChunkRow.job_id).where(ChunkRow.id == chunk_id)
        self.failed(replica_id, self._session.scalar(job))

    def ended(self, replica_ids: Sequence[UUID], status: ReplicaStatus) -> None:
        """They have just ended, and nobody has given back what they have in hand."""
        if not replica_ids:
            return
        in_hand = self._in_hand(replica_ids)

        def charged(replica: _Since) -> list[Charge]:
            owner = in_hand.get(replica.id)
            return replica.span.charged(
                *last_of(status, loaded=replica.loaded, early=replica.early, working_for=owner)
            )

        self._close(replica_ids, charged)

    def _owner(self, job_id: UUID | None) -> Account:
        query = select(JobRow.team, JobRow.owner).where(JobRow.id == job_id)
        found = self._session.execute(query).one_or_none()
        return (found.team, found.owner) if found else NOBODY

    def _in_hand(self, replica_ids: Sequence[UUID]) -> dict[UUID | None, Account]:
        """By replica, whose chunk it has had in hand for longest."""
        query = (
            select(ChunkRow.replica_id, JobRow.team, JobRow.owner)
            .join(JobRow, JobRow.id == ChunkRow.job_id)
            .where(ChunkRow.replica_id.in_(replica_ids), ChunkRow.status == ChunkStatus.CLAIMED)
            .order_by(ChunkRow.claimed_at.desc(), ChunkRow.position.desc())
        )
        return {row.replica_id: (row.team, row.owner) for row in self._session.execute(query)}

    def _close(
        self,
        replica_ids: Sequence[UUID],
        charged: Callable[[_Since], list[Charge]],
        *conditions: ColumnElement[bool],
    ) -> None:
        begin = func.coalesce(ReplicaRow.accounted_at, ReplicaRow.claimed_at).label("begin")
        claimed = select(ReplicaRow.id, begin).where(ReplicaRow.id.in_(replica_ids), begin.is_not(None))
        open_span = claimed.where(*conditions).with_for_update(key_share=True).subquery()
        rows = self._session.execute(
            update(ReplicaRow)
            .where(ReplicaRow.id == open_span.c.id)
            .values(accounted_at=func.greatest(func.now(), open_span.c.begin))
            .returning(
                ReplicaRow.id,
                ReplicaRow.engine["model"].astext.label("model"),
                ReplicaRow.serving_at,
                open_span.c.begin,
                ReplicaRow.accounted_at,
                func.cardinality(ReplicaRow.devices).label("devices"),
                and_(ReplicaRow.early_for.is_not(None), ReplicaRow.requests_done == 0).label("early"),
            )
            .execution_options(synchronize_session=False)
        )
        for row in rows.all():
            span = Span(row.begin, row.accounted_at, row.devices)
            replica = _Since(row.id, row.model or "", row.serving_at is not None, row.early, span)
            self._charge(replica, charged(replica))

    def _charge(self, replica: _Since, charges: Sequence[Charge]) -> None:
        if not charges:
            return
        rows = [
            {
                "replica_id": replica.id,
                "hour": each.hour,
                "team": each.account[0],
                "owner": each.account[1],
                "model": replica.model,
                "outcome": each.outcome,
                "seconds": each.seconds,
            }
            for each in charges
        ]
        statement = insert(ChargeRow).values(rows)
        added = {"seconds": ChargeRow.seconds + statement.excluded.seconds}
        key = [column.name for column in ChargeRow.__table__.primary_key]
        self._session.execute(statement.on_conflict_do_update(index_elements=key, set_=added))
