"""What all tables share."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Types shared by all tables: times carry their zone, documents are JSONB."""

    type_annotation_map: ClassVar = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        str: Text,
        int: BigInteger,
        bytes: LargeBinary,
    }


def one_of(column: str, enum: type, *, nullable: bool = False) -> CheckConstraint:
    """A CHECK that holds a column to an enum; tests compare the two."""
    values = ", ".join(f"'{member}'" for member in enum)  # type: ignore[attr-defined]
    null = f" OR {column} IS NULL" if nullable else ""
    return CheckConstraint(f"{column} IN ({values}){null}", name=f"{column}_known")
