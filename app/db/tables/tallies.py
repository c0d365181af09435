"""What is counted for good."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Identity
from sqlalchemy.orm import Mapped, mapped_column

from app.db.columns import Base


class TallyRow(Base):
    """A count, or a piece of one: what is under one name, labels and bound is added up."""

    __tablename__ = "tallies"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    labels: Mapped[dict[str, Any]]
    bound: Mapped[float | None]
    times: Mapped[int]
    amount: Mapped[float]
