"""Who may do what, and what was used."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.db.columns import Base, one_of
from app.domain.keys import Role
from app.domain.ledger import Outcome


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


class UsageRow(Base):
    """Device seconds of one hour by whose they were, on which model, and what came of them."""

    __tablename__ = "usage"
    __table_args__ = (one_of("outcome", Outcome),)

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    team: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(primary_key=True)
    seconds: Mapped[float]


class ChargeRow(Base):
    """The same as a replica charges them, until the scheduler adds them to `usage`: no two write one row."""

    __tablename__ = "charges"
    __table_args__ = (one_of("outcome", Outcome),)

    replica_id: Mapped[UUID] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    team: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    seconds: Mapped[float]
