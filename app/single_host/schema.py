"""Bring a database to this version's schema."""

from __future__ import annotations

from alembic import command
from alembic.util import CommandError

from app.db.schema import breaking, others_connected
from app.db.session import alembic_config, check_schema, connected, scripts_of
from app.errors import BreakingMigrationError, OldSchemaError
from app.settings import Settings


def migrate(settings: Settings, *, force: bool = False) -> bool:
    """Run the missing migrations; whether there were any. Safe to repeat and to run twice at once.

    Raises DatabaseUnreachableError, OldSchemaError where a newer version has migrated the database, and
    BreakingMigrationError, unless forced, where processes run that could not go on.
    """
    try:
        check_schema(settings)
    except OldSchemaError:
        try:
            if not force:
                _check_nobody_breaks(settings)
            command.upgrade(alembic_config(settings), "head")
        except CommandError as error:
            raise OldSchemaError(f"a newer evalq has migrated this database: {error}") from error
        return True
    return False


def _check_nobody_breaks(settings: Settings) -> None:
    with connected(settings) as connection:
        breaks = breaking(connection, scripts_of(settings))
        others = others_connected(connection) if breaks else 0
    if others:
        raise BreakingMigrationError(
            f"migration {breaks[-1]} would break the evalq processes that hold {others} connections to this "
            "database: stop them first (`evalq migrate --force` migrates all the same)"
        )
