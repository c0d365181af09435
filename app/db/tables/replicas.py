"""Groups, their devices, and the engines on them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.columns import Base, one_of
from app.domain.replica import DeviceState, ReplicaStatus


class LeaderRow(Base):
    """The scheduler that leads, or led last."""

    __tablename__ = "leader"
    __table_args__ = (CheckConstraint("id = 1", name="there_is_one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    heard_at: Mapped[datetime]


class GroupRow(Base):
    """The devices of one host that one worker owns."""

    __tablename__ = "gpu_groups"

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    kind: Mapped[str]
    backends: Mapped[list[str]]
    installed: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    tolerances: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # by backend
    version: Mapped[str]
    worker_token: Mapped[UUID]
    worker_started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    drain_requested_at: Mapped[datetime | None]
    drain_reason: Mapped[str | None]
    drained_by: Mapped[str | None]


class DeviceRow(Base):
    """One GPU or CPU slot; it belongs to at most one live replica."""

    __tablename__ = "devices"
    __table_args__ = (
        one_of("state", DeviceState),
        CheckConstraint("(state = 'held') = (replica_id IS NOT NULL)", name="held_by_a_replica"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    group_name: Mapped[str] = mapped_column(ForeignKey("gpu_groups.name", ondelete="CASCADE"), index=True)
    index: Mapped[int]
    name: Mapped[str]
    memory_bytes: Mapped[int | None]
    memory_used_bytes: Mapped[int | None]
    utilization_percent: Mapped[float | None]
    temperature_celsius: Mapped[float | None]
    traits: Mapped[dict[str, Any] | None]  # what else its worker reports of it
    state: Mapped[str]
    reason: Mapped[str | None]
    faulty_at: Mapped[datetime | None]
    replica_id: Mapped[UUID | None] = mapped_column(ForeignKey("replicas.id"))


class ReplicaRow(Base):
    """One engine on one block of devices under a lease."""

    __tablename__ = "replicas"
    __table_args__ = (
        one_of("status", ReplicaStatus),
        Index(
            "replicas_live", "group_name", postgresql_where=text("status IN ('placed', 'loading', 'serving')")
        ),
        Index("replicas_ended", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("replicas_engine", "engine_key", "placed_at"),
        Index("replicas_spare", "spare_id", unique=True, postgresql_where=text("spare_id IS NOT NULL")),
        Index("replicas_early", "early_for", postgresql_where=text("early_for IS NOT NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    group_name: Mapped[str]
    engine_key: Mapped[str]
    engine: Mapped[dict[str, Any]]
    devices: Mapped[list[str]]
    status: Mapped[str]
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    lease_holder: Mapped[str | None]
    spare_id: Mapped[UUID | None]
    """The spare that became its engine child; none where one was started for it."""
    sent_at: Mapped[datetime | None]
    sends: Mapped[int] = mapped_column(server_default="0")
    placed_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    serving_at: Mapped[datetime | None]
    idle_since: Mapped[datetime | None]
    accounted_at: Mapped[datetime | None]
    """Its time until then is charged; none from before time was."""
    ended_at: Mapped[datetime | None]
    release_requested_at: Mapped[datetime | None]
    release_reason: Mapped[str | None]
    requests_done: Mapped[int] = mapped_column(server_default="0")
    tokens_done: Mapped[int] = mapped_column(server_default="0")
    cost_done: Mapped[float] = mapped_column(server_default="0")
    busy_seconds: Mapped[float] = mapped_column(server_default="0")
    early_for: Mapped[UUID | None]
    """The job for which it was started before that had any request, until it is given some; it may outlive its job."""
    provenance: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class EngineMeasureRow(Base):
    """What an engine measured of itself when it was loaded; its speed stands in its replica's own account."""

    __tablename__ = "engine_measures"
    __table_args__ = (Index("engine_measures_name", "name", text("loaded_at DESC")),)

    replica_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    device_kind: Mapped[str]
    tensor: Mapped[int]
    pipeline: Mapped[int]
    gpus: Mapped[int]
    measures: Mapped[dict[str, Any]]
    loaded_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class LogRow(Base):
    """A piece of a child's log; the owner is a job or a replica.

    Of a replica's log `job_id` names the job on whose chunks it worked; there is none while it starts.
    """

    __tablename__ = "log_pieces"
    __table_args__ = (Index("log_pieces_of_job", "job_id", "owner_id", "number"),)

    owner_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    job_id: Mapped[UUID | None]
    text: Mapped[str]
