"""Requests on their way, and their responses."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.db.columns import Base, one_of
from app.domain.chunk import ChunkStatus


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
        Index("chunks_retried", "job_id", postgresql_where=text("status = 'waiting' AND failures > 0")),
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
    note: Mapped[bytes | None]
    """How it came about, as the engine told it; none of what earlier versions stored."""
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class EngineFactsRow(Base):
    """What the engine said of itself that first answered under a fingerprint: the responses outlive its replica."""

    __tablename__ = "engine_facts"

    fingerprint: Mapped[bytes] = mapped_column(primary_key=True)
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
