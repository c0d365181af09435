"""Which of the schedulers leads: an advisory lock that lives as long as the connection that took it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from app.db.outages import own_errors
from app.db.session import make_engine
from app.db.tables import LeaderRow
from app.settings import Settings

LEADER_LOCK = 0x6576616C72


def leads(session: Session) -> bool:
    """Whether a scheduler holds the lead."""
    held = text(
        """SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint = :high AND objid::bigint = :low)"""
    )
    high, low = divmod(LEADER_LOCK, 1 << 32)
    return bool(session.scalar(held, {"high": high, "low": low}))


def led_at(session: Session) -> datetime | None:
    """When a scheduler that led was heard of last; None where none ever led."""
    return session.scalar(select(LeaderRow.heard_at))


class Lead:
    """The lead, as long as its connection lives."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self) -> None:
        """Say that this leader lives; DatabaseUnreachableError where it lost the lead with its connection."""
        told = insert(LeaderRow).values(id=1, heard_at=func.now())
        heard = told.on_conflict_do_update(index_elements=["id"], set_={"heard_at": func.now()})
        with own_errors():
            self._connection.execute(heard)
            self._connection.commit()


class Leadership:
    """One scheduler's way to the lead, on connections of its own."""

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(settings)

    @contextmanager
    def sought(self, frozen_seconds: float) -> Iterator[Lead | None]:
        """The lead until the end of the block, or None where another scheduler has it; DatabaseError.

        A leader that checks nothing for `frozen_seconds` loses it: another one may lead then.
        """
        with own_errors(), self._engine.connect() as connection:
            try:
                yield Lead(connection) if _take(connection, frozen_seconds) else None
            finally:
                connection.invalidate()  # back in the pool it would go on holding the lock


def _take(connection: Connection, frozen_seconds: float) -> bool:
    taken = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK}))
    if taken:
        connection.execute(text(f"SET idle_session_timeout = {int(frozen_seconds * 1000)}"))
    connection.commit()
    return taken
