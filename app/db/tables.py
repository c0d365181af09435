"""The schema, as SQLAlchemy sees it; migrations/ is what makes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.db.columns import Base, one_of
from app.domain.chunk import ChunkStatus
from app.domain.job import JobStatus, Phase, TaskStatus
from app.domain.keys import DEFAULT_TEAM, Role
from app.domain.replica import DeviceState, ReplicaStatus

METADATA = Base.metadata
"""Of all tables."""
_QUEUED = text("status = 'queued' AND waits_for IS NULL")


class JobRow(Base):
    """What a user asked for and where it stands."""

    __tablename__ = "jobs"
    __table_args__ = (
        one_of("status", JobStatus),
        one_of("phase", Phase, nullable=True),
        UniqueConstraint("team", "owner", "idempotency_key", name="jobs_idempotency"),
        Index("jobs_newest", text("created_at DESC"), text("id DESC")),
        Index("jobs_of_team", "team", text("created_at DESC"), text("id DESC")),
        Index("jobs_unended", "team", postgresql_where=text("ended_at IS NULL")),
        Index("jobs_by_turn", text("priority DESC"), "turn", "created_at", postgresql_where=_QUEUED),
        Index("jobs_live", "status", postgresql_where=text("status IN ('queued', 'running')")),
        CheckConstraint(
            "(ended_at IS NOT NULL) = (status IN ('succeeded', 'partially_failed', 'failed', 'cancelled'))",
            name="ended_when_terminal",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str]
    team: Mapped[str] = mapped_column(server_default=DEFAULT_TEAM)
    name: Mapped[str | None]
    status: Mapped[str]
    phase: Mapped[str | None]
    reason: Mapped[str | None]
    priority: Mapped[int]
    turn: Mapped[int | None]
    """Its place in the line among those of its priority; none before the scheduler has seen it."""
    tags: Mapped[list[str]]
    spec: Mapped[dict[str, Any]]
    engine: Mapped[dict[str, Any]]
    engine_key: Mapped[str]
    plan: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")
    version: Mapped[int] = mapped_column(server_default="0")
    event_count: Mapped[int] = mapped_column(server_default="0")
    idempotency_key: Mapped[str | None]
    body_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]
    lease_holder: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    waits_for: Mapped[str | None]
    fingerprint: Mapped[bytes | None]
    planned_at: Mapped[datetime | None]
    requests_total: Mapped[int | None]
    requests_done: Mapped[int] = mapped_column(server_default="0")
    requests_reused: Mapped[int] = mapped_column(server_default="0")
    progress_at: Mapped[datetime | None]
    gpu_seconds: Mapped[float] = mapped_column(server_default="0")
    rates: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    provenance: Mapped[dict[str, Any] | None]
    result_name: Mapped[str | None]
    result_date: Mapped[str | None]
    results: Mapped[str | None] = mapped_column(deferred=True)
    """lm-eval's document, which may have megabytes: read where it is named."""


class UsageRow(Base):
    """Device seconds of one hour that were of use to an owner's jobs on a model."""

    __tablename__ = "usage"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    team: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    seconds: Mapped[float]


class KeyRow(Base):
    """An API key: its hash, and what its holder may do."""

    __tablename__ = "api_keys"
    __table_args__ = (one_of("role", Role),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    team: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class JobTaskRow(Base):
    """One lm-eval task of a job."""

    __tablename__ = "job_tasks"
    __table_args__ = (one_of("status", TaskStatus), Index("job_tasks_name", "name"))

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    status: Mapped[str]
    done: Mapped[int] = mapped_column(server_default="0")
    total: Mapped[int | None]
    metrics: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]


class ChunkRow(Base):
    """A batch of requests, claimed and answered as a whole."""

    __tablename__ = "chunks"
    __table_args__ = (
        one_of("status", ChunkStatus),
        CheckConstraint("(status = 'claimed') = (token IS NOT NULL)", name="claimed_under_a_token"),
        Index("chunks_waiting", "job_id", "position", postgresql_where=text("status = 'waiting'")),
        Index(
            "chunks_pending",
            "job_id",
            postgresql_include=["cost"],
            postgresql_where=text("status IN ('waiting', 'claimed')"),
        ),
        Index("chunks_claimed", "replica_id", postgresql_where=text("status = 'claimed'")),
        Index(
            "chunks_suspected", "job_id", "position", postgresql_where=text("status = 'waiting' AND suspect")
        ),
        Index(
            "chunks_uncollected",
            "job_id",
            postgresql_where=text("status IN ('answered', 'failed') AND NOT collected"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    kind: Mapped[str]
    batch_size: Mapped[str]
    gen_kwargs: Mapped[dict[str, Any] | None]
    seed: Mapped[int | None]
    cost: Mapped[float]
    keys: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary))
    payload: Mapped[bytes | None]
    status: Mapped[str]
    collected: Mapped[bool] = mapped_column(server_default=text("false"))
    failures: Mapped[int] = mapped_column(server_default="0")
    interruptions: Mapped[int] = mapped_column(server_default="0")
    suspect: Mapped[bool] = mapped_column(server_default=text("false"))
    replica_id: Mapped[UUID | None]
    token: Mapped[UUID | None]
    claimed_at: Mapped[datetime | None]
    requests_done: Mapped[int] = mapped_column(server_default="0")
    cost_done: Mapped[float] = mapped_column(server_default="0")
    ended_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    error: Mapped[dict[str, Any] | None]


class ResponseRow(Base):
    """The answer to a request, stored once; the first one stands."""

    __tablename__ = "responses"

    fingerprint: Mapped[bytes] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(primary_key=True)
    value: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class EngineFactsRow(Base):
    """What the engine said of itself that first answered under a fingerprint: the responses outlive its replica."""

    __tablename__ = "engine_facts"

    fingerprint: Mapped[bytes] = mapped_column(primary_key=True)
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class GroupRow(Base):
    """The devices of one host that one worker owns."""

    __tablename__ = "gpu_groups"

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    kind: Mapped[str]
    backends: Mapped[list[str]]
    installed: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    version: Mapped[str]
    worker_token: Mapped[UUID]
    worker_started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    drain_requested_at: Mapped[datetime | None]


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
        Index("replicas_engine", "engine_key", "placed_at"),
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
    sent_at: Mapped[datetime | None]
    sends: Mapped[int] = mapped_column(server_default="0")
    placed_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    serving_at: Mapped[datetime | None]
    idle_since: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    release_requested_at: Mapped[datetime | None]
    release_reason: Mapped[str | None]
    requests_done: Mapped[int] = mapped_column(server_default="0")
    tokens_done: Mapped[int] = mapped_column(server_default="0")
    cost_done: Mapped[float] = mapped_column(server_default="0")
    busy_seconds: Mapped[float] = mapped_column(server_default="0")
    provenance: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class EventRow(Base):
    """One entry of a job's log, numbered 1, 2, 3... in commit order."""

    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    type: Mapped[str]
    data: Mapped[dict[str, Any]]


class SampleRow(Base):
    """One line of lm-eval's samples file, as text, so that the file can be given back to the byte."""

    __tablename__ = "samples"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    correct: Mapped[bool | None]
    row: Mapped[str]


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
