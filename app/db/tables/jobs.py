"""A job, its tasks, what it wrote, and its log."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db.columns import Base, one_of
from app.domain.job import JobStatus, Phase, TaskStatus
from app.domain.keys import DEFAULT_TEAM

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
        Index("jobs_of_owner", "owner", text("created_at DESC"), text("id DESC")),
        Index("jobs_of_status", "status", text("created_at DESC"), text("id DESC")),
        Index("jobs_named", "name", text("created_at DESC"), text("id DESC")),
        Index("jobs_of_model", text("left(engine->>'model', 600)"), text("created_at DESC"), text("id DESC")),
        Index("jobs_tagged", "tags", postgresql_using="gin"),
        Index("jobs_ended", "status", postgresql_where=text("ended_at IS NOT NULL")),
        Index("jobs_ended_lately", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index("jobs_counted", "team", "status"),
        Index("jobs_unended", "team", postgresql_where=text("ended_at IS NULL")),
        Index("jobs_by_turn", text("priority DESC"), "turn", "created_at", postgresql_where=_QUEUED),
        Index(
            "jobs_of_engine",
            "engine_key",
            text("priority DESC"),
            "turn",
            "created_at",
            postgresql_where=text("status = 'running' AND phase <> 'preparing'"),
        ),
        Index("jobs_live", "status", postgresql_where=text("status IN ('queued', 'running')")),
        Index(
            "jobs_answered_lately",
            "questions",
            text("created_at DESC"),
            postgresql_where=text("status = 'succeeded'"),
        ),
        Index("jobs_parked", "due_at", postgresql_where=text("parked_at IS NOT NULL")),
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
    outline: Mapped[dict[str, Any] | None]
    """What lists show of the spec; none in jobs of earlier versions."""
    engine: Mapped[dict[str, Any]]
    engine_key: Mapped[str]
    questions: Mapped[str | None]
    """Jobs of which it is the same ask the same; none of one that asks anew, and of earlier versions."""
    plan: Mapped[dict[str, Any]]
    attempt: Mapped[int] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")
    version: Mapped[int] = mapped_column(server_default="0")
    event_count: Mapped[int] = mapped_column(server_default="0")
    idempotency_key: Mapped[str | None]
    body_hash: Mapped[str | None]
    traceparent: Mapped[str | None]
    """As W3C writes it; none in jobs of earlier versions."""
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
    parked_at: Mapped[datetime | None]
    """Since when a running job waits for engines without a coordinator's place."""
    due_at: Mapped[datetime | None]
    """Since when a parked one wants its place again."""
    parked_bytes: Mapped[int | None]
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
    quality: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class SampleRow(Base):
    """One line of lm-eval's samples file, as text, so that the file can be given back to the byte."""

    __tablename__ = "samples"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    correct: Mapped[bool | None]
    truncated: Mapped[bool | None]
    """Whether an answer ended because it was as long as it may be."""
    empty: Mapped[bool | None]
    row: Mapped[str]


class EventRow(Base):
    """One entry of a job's log, numbered 1, 2, 3... in commit order."""

    __tablename__ = "job_events"
    __table_args__ = (
        Index("job_events_serial", "serial", unique=True, postgresql_where=text("serial IS NOT NULL")),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    serial: Mapped[int | None] = mapped_column(server_default=text("next_event_serial()"))
    """Its place among the events of all jobs; none in those of earlier versions."""


class ForetoldRow(Base):
    """What a job was told of its start, once for each double of the seconds; it may outlive its job."""

    __tablename__ = "foretold"

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    told_at: Mapped[datetime]
    low: Mapped[float]
    start: Mapped[float]
    high: Mapped[float]
    began_at: Mapped[datetime | None]
