"""Rows of `api_keys`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from app.db.tables import KeyRow
from app.domain.keys import Key, Role


class KeyRepository:
    """Translates rows to keys. A row is never deleted: a service that once had keys stays closed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, key: Key, digest: bytes) -> None:
        """Store a new key by its hash."""
        self._session.add(
            KeyRow(
                id=key.id,
                name=key.name,
                role=key.role,
                team=key.team,
                prefix=key.prefix,
                digest=digest,
                created_at=key.created_at,
                expires_at=key.expires_at,
            )
        )

    def by_hash(self, digest: bytes) -> Key | None:
        """The key with this hash, usable or not."""
        row = self._session.scalar(select(KeyRow).where(KeyRow.digest == digest))
        return _to_key(row) if row else None

    def hash_of(self, key_id: UUID) -> bytes | None:
        """The hash of a key's secret, usable or not."""
        return self._session.scalar(select(KeyRow.digest).where(KeyRow.id == key_id))

    def all(self) -> list[Key]:
        """Every key, oldest first."""
        return [_to_key(row) for row in self._session.scalars(select(KeyRow).order_by(KeyRow.created_at))]

    def any_exist(self) -> bool:
        """Whether there is or was a key."""
        return bool(self._session.scalar(select(exists().select_from(KeyRow))))

    def revoke(self, key_id: UUID, now: datetime) -> Key | None:
        """End a key now; one that was revoked stays as it was. None where there is no such key."""
        row = self._session.get(KeyRow, key_id, with_for_update=True)
        if row is not None and row.revoked_at is None:
            row.revoked_at = now
        return _to_key(row) if row else None

    def used(self, key_id: UUID, now: datetime, unless_since: datetime) -> None:
        """Note a use, unless one was noted since then."""
        self._session.execute(
            update(KeyRow)
            .where(
                KeyRow.id == key_id, or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at < unless_since)
            )
            .values(last_used_at=now)
            .execution_options(synchronize_session=False)
        )


def _to_key(row: KeyRow) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        team=row.team,
        prefix=row.prefix,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
