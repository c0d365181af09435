"""Bring a database to this version's schema."""

from __future__ import annotations

from alembic import command
from alembic.util import CommandError

from app.db.session import alembic_config, check_schema
from app.errors import OldSchemaError
from app.settings import Settings


def migrate(settings: Settings) -> bool:
    """Run the missing migrations; whether there were any. Safe to repeat and to run twice at once.

    Raises DatabaseUnreachableError, and OldSchemaError where a newer version has migrated the database.
    """
    try:
        check_schema(settings)
    except OldSchemaError:
        try:
            command.upgrade(alembic_config(settings), "head")
        except CommandError as error:
            raise OldSchemaError(f"a newer evalq has migrated this database: {error}") from error
        return True
    return False
