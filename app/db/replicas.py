"""Rows of `replicas`, `devices` and `gpu_groups`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.db.tables import DeviceRow, JobRow, ReplicaRow
from app.db.tallies import TallyRepository
from app.db.wishes import may_be_answered_in
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.job import JobStatus
from app.domain.placement import Start
from app.domain.replica import LIVE, DeviceState, Replica, ReplicaStatus

MAX_SENDS = 4
"""Rings for a placed replica; after the last one its worker has as long to claim it as after each."""


def _unlocked(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Replicas that nobody is writing at the moment: the others are looked at in the next turn."""
    found = select(ReplicaRow.id).where(*conditions).with_for_update(skip_locked=True, key_share=True)
    return ReplicaRow.id.in_(found)


class ReplicaRepository:
    """Place, announce, release, lose; a device is held by at most one live replica."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def place(self, start: Start) -> UUID | None:
        """Take all the devices and insert a placed replica, or take nothing and return None."""
        wanted = select(DeviceRow.id).where(
            DeviceRow.id.in_(start.devices), DeviceRow.state == DeviceState.FREE
        )
        locked = self._session.scalars(wanted.with_for_update(skip_locked=True)).all()
        if len(locked) != len(start.devices):
            return None
        replica_id = uuid7()
        self._session.add(
            ReplicaRow(
                id=replica_id,
                group_name=start.group,
                engine_key=start.engine.key,
                engine=start.engine.to_json(),
                devices=list(start.devices),
                status=ReplicaStatus.PLACED,
                placed_at=func.now(),
                early_for=start.early_for,
            )
        )
        self._session.flush()
        set_devices(self._session, DeviceRow.id.in_(locked), DeviceState.HELD, replica_id, None)
        return replica_id

    def announce(self, resend_after: timedelta) -> list[tuple[UUID, str]]:
        """Mark placed replicas as sent that were not announced lately; returns (id, group)."""
        rows = self._session.execute(
            update(ReplicaRow)
            .where(
                _unlocked(
                    ReplicaRow.status == ReplicaStatus.PLACED,
                    ReplicaRow.sends < MAX_SENDS,
                    or_(ReplicaRow.sent_at.is_(None), ReplicaRow.sent_at < func.now() - resend_after),
                )
            )
            .values(sent_at=func.now(), sends=ReplicaRow.sends + 1)
            .returning(ReplicaRow.id, ReplicaRow.group_name)
        )
        return [(row.id, row.group_name) for row in rows]

    def get(self, replica_id: UUID) -> Replica:
        """The replica with this id."""
        return to_replica(self._session.get_one(ReplicaRow, replica_id, populate_existing=True))

    def is_over(self, owner: UUID) -> bool:
        """Whether there is a replica of this id, or served by the spare of this id, and it has ended."""
        ended = and_(
            or_(ReplicaRow.id == owner, ReplicaRow.spare_id == owner), ReplicaRow.status.not_in(LIVE)
        )
        return bool(self._session.scalar(select(exists().where(ended))))

    def jobs_served(self, replica_id: UUID) -> list[UUID]:
        """Running jobs of the replica's engine spec that it may answer."""
        query = (
            select(JobRow.id)
            .join(ReplicaRow, ReplicaRow.engine_key == JobRow.engine_key)
            .where(ReplicaRow.id == replica_id, JobRow.status == JobStatus.RUNNING)
            .where(may_be_answered_in(ReplicaRow.group_name))
        )
        return list(self._session.scalars(query))

    def running(self, job_ids: Sequence[UUID]) -> list[UUID]:
        """Those of the jobs that run, locked: none of them ends before the transaction does."""
        query = select(JobRow.id).where(JobRow.id.in_(job_ids), JobRow.status == JobStatus.RUNNING)
        return list(self._session.scalars(query.order_by(JobRow.id).with_for_update(key_share=True)))

    def release(self, replica_id: UUID, why: str) -> None:
        """Ask a replica to stop at its next chunk boundary; one not yet claimed ends at once."""
        self._session.execute(
            update(ReplicaRow)
            .where(ReplicaRow.id == replica_id, ReplicaRow.status.in_(LIVE))
            .values(
                release_requested_at=func.coalesce(ReplicaRow.release_requested_at, func.now()),
                release_reason=why,
            )
        )
        gone = self._session.scalars(
            update(ReplicaRow)
            .where(ReplicaRow.id == replica_id, ReplicaRow.status == ReplicaStatus.PLACED)
            .values(status=ReplicaStatus.RELEASED, ended_at=func.now())
            .returning(ReplicaRow.id)
        ).all()
        set_devices(self._session, DeviceRow.replica_id.in_(gone), DeviceState.FREE, None, None)

    def expire(self, resend_after: timedelta) -> list[UUID]:
        """End replicas whose lease is over, or that nobody claimed after the last ring, as lost; returns them."""
        over = and_(ReplicaRow.status.in_(LIVE), ReplicaRow.lease_expires_at < func.now())
        unheard = and_(
            ReplicaRow.status == ReplicaStatus.PLACED,
            ReplicaRow.sends >= MAX_SENDS,
            ReplicaRow.sent_at < func.now() - resend_after,
        )
        return self._lose(or_(over, unheard))

    def lose(self, held_by: Sequence[str]) -> list[UUID]:
        """End the replicas of holders known dead as lost; returns them."""
        return self._lose(and_(ReplicaRow.status.in_(LIVE), ReplicaRow.lease_holder.in_(held_by)))

    def _lose(self, which: ColumnElement[bool]) -> list[UUID]:
        lost = list(
            self._session.scalars(
                update(ReplicaRow)
                .where(_unlocked(which))
                .values(
                    status=ReplicaStatus.LOST,
                    ended_at=func.now(),
                    idle_since=None,
                    lease_token=None,
                    lease_expires_at=None,
                    error=Failure(FailureCode.LOST, "its worker did not renew the lease").to_json(),
                )
                .returning(ReplicaRow.id)
            )
        )
        if lost:
            TallyRepository(self._session).note_ended(lost)
            set_devices(
                self._session, DeviceRow.replica_id.in_(lost), DeviceState.DIRTY, None, "a lease expired"
            )
        return lost

    def holders(self, prefix: str) -> list[str]:
        """Who holds live replicas, among holders whose name begins with `prefix`."""
        query = select(ReplicaRow.lease_holder).where(
            ReplicaRow.status.in_(LIVE), ReplicaRow.lease_holder.startswith(prefix, autoescape=True)
        )
        return [holder for holder in self._session.scalars(query) if holder]

    def none_lives(self) -> bool:
        """Whether no replica holds devices."""
        return not self._session.scalar(select(exists().where(ReplicaRow.status.in_(LIVE))))

    def live(self) -> list[Replica]:
        """Replicas that hold devices, oldest first."""
        rows = self._session.scalars(
            select(ReplicaRow).where(ReplicaRow.status.in_(LIVE)).order_by(ReplicaRow.placed_at)
        )
        return [to_replica(row) for row in rows]

    def provenance(self, replica_ids: Sequence[UUID]) -> list[dict[str, Any]]:
        """What these replicas reported when they were loaded, but for the page about their hosts."""
        query = select(ReplicaRow.provenance).where(ReplicaRow.id.in_(replica_ids))
        said = [found for found in self._session.scalars(query) if found]
        return [{name: each[name] for name in each if name != "environment"} for each in said]


def set_devices(
    session: Session,
    which: ColumnElement[bool],
    state: DeviceState,
    replica_id: UUID | None,
    reason: str | None,
) -> None:
    """Give devices to a replica, or take them from the one that had them."""
    session.execute(
        update(DeviceRow)
        .where(which)
        .values(state=state, replica_id=replica_id, reason=reason)
        .execution_options(synchronize_session=False)
    )


def to_replica(row: ReplicaRow) -> Replica:
    """A row as the rules see it."""
    return Replica(
        id=row.id,
        group=row.group_name,
        engine=EngineSpec.from_json(row.engine),
        status=ReplicaStatus(row.status),
        devices=tuple(row.devices),
        placed_at=row.placed_at,
        claimed_at=row.claimed_at,
        serving_at=row.serving_at,
        idle_since=row.idle_since,
        ended_at=row.ended_at,
        release_requested_at=row.release_requested_at,
        requests_done=row.requests_done,
        cost_per_second=row.cost_done / row.busy_seconds if row.busy_seconds else None,
        error=Failure.from_json(row.error) if row.error else None,
        early_for=row.early_for,
    )
