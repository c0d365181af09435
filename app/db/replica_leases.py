"""What the worker that holds a replica's lease writes; every statement is fenced by its token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.db.fence import replica_held, replica_is_held, replica_lost
from app.db.replicas import set_devices, to_replica
from app.db.tables import DeviceRow, ReplicaRow
from app.db.tallies import TallyRepository
from app.domain.failure import Failure
from app.domain.lease import Lease, Order
from app.domain.replica import DeviceState, Replica, ReplicaStatus


class ReplicaLeaseRepository:
    """Claim, renew, write, end."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, lease: Lease, holder: str, ttl: timedelta) -> Replica | None:
        """Take a placed replica; None if it is not placed any more. A doubled message finds nothing."""
        row = self._session.scalar(
            update(ReplicaRow)
            .where(ReplicaRow.id == lease.id, ReplicaRow.status == ReplicaStatus.PLACED)
            .values(
                status=ReplicaStatus.LOADING,
                lease_token=lease.token,
                lease_holder=holder,
                lease_expires_at=func.now() + ttl,
                claimed_at=func.now(),
                accounted_at=func.now(),
            )
            .returning(ReplicaRow)
        )
        return to_replica(row) if row else None

    def renew(self, lease: Lease, ttl: timedelta) -> Order:
        """Extend the lease; says whether the scheduler wants the devices back; LeaseLostError."""
        released = self._session.execute(
            update(ReplicaRow)
            .where(replica_held(lease))
            .values(lease_expires_at=func.now() + ttl)
            .returning(ReplicaRow.release_requested_at)
        ).one_or_none()
        if released is None:
            raise replica_lost(lease)
        return Order.RELEASE if released[0] else Order.GO_ON

    def order(self, lease: Lease) -> Order:
        """What the scheduler wants of the holder; locks the replica before its chunks; LeaseLostError."""
        asked = (
            select(ReplicaRow.release_requested_at).where(replica_held(lease)).with_for_update(key_share=True)
        )
        row = self._session.execute(asked).one_or_none()
        if row is None:
            raise replica_lost(lease)
        return Order.RELEASE if row[0] else Order.GO_ON

    def check(self, lease: Lease) -> None:
        """LeaseLostError unless the lease holds; locks nothing, for who goes on to wait for jobs."""
        if not self._session.scalar(select(replica_is_held(lease))):
            raise replica_lost(lease)

    def serving(self, lease: Lease, provenance: dict[str, Any]) -> None:
        """The engine is loaded."""
        self.write(
            lease,
            status=ReplicaStatus.SERVING,
            serving_at=func.now(),
            idle_since=func.now(),
            provenance=provenance,
        )

    def take_spare(self, lease: Lease, spare_id: UUID) -> None:
        """A spare becomes its engine child; LeaseLostError."""
        self.write(lease, spare_id=spare_id)

    def mark_idle(self, lease: Lease, *, idle: bool) -> None:
        """Since when it has nothing to do; None while it works, and then it is early no more.

        Writes only a change: it is told with every look.
        """
        changed = ReplicaRow.idle_since.is_(None) if idle else ReplicaRow.idle_since.is_not(None)
        self._session.execute(
            update(ReplicaRow)
            .where(replica_held(lease), changed)
            .values({"idle_since": func.now()} if idle else {"idle_since": None, "early_for": None})
            .execution_options(synchronize_session=False)
        )

    def write(self, lease: Lease, **values: Any) -> None:
        """Write columns of the replica under the lease; LeaseLostError."""
        done = self._session.execute(
            update(ReplicaRow)
            .where(replica_held(lease))
            .values(**values)
            .execution_options(synchronize_session=False)
        )
        if not done.rowcount:  # type: ignore[attr-defined]
            raise replica_lost(lease)

    def count(self, lease: Lease, requests: int, tokens: int, cost: float, seconds: float) -> None:
        """Add an answered chunk to the replica's account."""
        self.write(
            lease,
            requests_done=ReplicaRow.requests_done + requests,
            tokens_done=ReplicaRow.tokens_done + tokens,
            cost_done=ReplicaRow.cost_done + cost,
            busy_seconds=ReplicaRow.busy_seconds + seconds,
            idle_since=None,
        )

    def end(self, lease: Lease, status: ReplicaStatus, error: Failure | None) -> None:
        """End the replica; its devices are dirty until their worker has seen them clean."""
        self.write(
            lease,
            status=status,
            ended_at=func.now(),
            error=error.to_json() if error else None,
            idle_since=None,
            lease_token=None,
            lease_expires_at=None,
        )
        TallyRepository(self._session).note_ended([lease.id])
        set_devices(
            self._session, DeviceRow.replica_id == lease.id, DeviceState.DIRTY, None, "a replica ended"
        )
