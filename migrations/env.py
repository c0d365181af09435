"""Runs migrations under an advisory lock, with bounds on how long they may hold up others."""

from collections.abc import Collection

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from app.db.schema import note_usable_by
from app.db.tables import METADATA

LOCK = 0x6576616C71  # "evalq"


def note(ctx: MigrationContext, heads: Collection[str], **_: object) -> None:
    """Part of each migration: which versions may use the schema that it leaves."""
    note_usable_by(ctx.connection, context.script, next(iter(heads), None))


def run() -> None:
    """Migrate the database named by the caller; a second caller waits for the first."""
    engine = create_engine(context.config.attributes["url"])
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.execute(text("SET lock_timeout = '10s'"))
        connection.execute(text("SET statement_timeout = '10min'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=METADATA,
            transaction_per_migration=True,
            on_version_apply=note,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
        connection.commit()
    engine.dispose()


run()
