"""Sessions: how a process reaches Postgres, and whether its schema is the one this version needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.db.outages import cause, own_errors
from app.db.schema import APPLICATION, FOLDER, check_revision, current_revision, newest_revision
from app.domain.storable import to_json
from app.errors import DatabaseUnreachableError, TookTooLongError
from app.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

VANISHED_HOST = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server whose host is gone is noticed within half a minute; libpq's own patience is hours."""


LONGEST_MS = 5000
"""Of a statement for which somebody waits; such texts have no bound in bytes."""
QUERY_CANCELED = "57014"


class Sessions(sessionmaker[Session]):
    """A session factory over a pool of its own; DatabaseError is all that leaves a transaction of the database's."""

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A session in a transaction, committed at the end; DatabaseUnreachableError, DatabaseRefusedError."""
        with own_errors(), super().begin() as session:
            yield session

    @contextmanager
    def briefly(self) -> Iterator[Session]:
        """The same for what a press of a key may ask; TookTooLongError where a statement does."""
        with self.begin() as session:
            session.execute(text(f"SET LOCAL statement_timeout = {LONGEST_MS}"))
            try:
                yield session
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != QUERY_CANCELED:
                    raise
                raise TookTooLongError("it takes too long to look through all of this here") from error

    def close(self) -> None:
        """Let go of the pool's connections. Safe to repeat."""
        self.kw["bind"].dispose()


def make_engine(settings: Settings, frozen_seconds: float = float("inf")) -> Engine:
    """A pool of connections that notices a restarted server.

    A process that freezes inside a transaction must not hold its locks for ever: the server ends the session after
    half a lease, or sooner. Whatever is written to a JSON column is made storable first.
    """
    frozen_ms = int(min(settings.lease_seconds / 2, frozen_seconds) * 1000)
    return create_engine(
        settings.sqlalchemy_url,
        pool_size=settings.database_pool,
        max_overflow=settings.database_pool,
        pool_pre_ping=True,
        json_serializer=to_json,
        connect_args={
            "connect_timeout": 10,
            "application_name": APPLICATION,
            "options": f"-c timezone=UTC -c idle_in_transaction_session_timeout={frozen_ms}",
            **VANISHED_HOST,
        },
    )


def make_sessions(settings: Settings, frozen_seconds: float = float("inf")) -> Sessions:
    """Sessions on the database of the settings; one that is frozen for so long in a transaction is ended."""
    return Sessions(make_engine(settings, frozen_seconds), expire_on_commit=False)


def password(settings: Settings) -> str:
    """The password in the database URL, whatever stands in it, as the driver takes it; nothing where it has none."""
    url = make_url(settings.sqlalchemy_url)
    return str(url.password or url.query.get("password", ""))


def alembic_config(settings: Settings) -> Config:
    """Alembic, pointed at the migrations that ship with this version."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["url"] = settings.sqlalchemy_url
    return config


def check_schema(settings: Settings) -> None:
    """Raise OldSchemaError unless this version can work with the database's schema (see app.db.schema)."""
    with connected(settings) as connection:
        if current_revision(connection) != newest_revision():
            check_revision(connection, scripts_of(settings))


def scripts_of(settings: Settings) -> ScriptDirectory:
    """The migrations of this version."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(alembic_config(settings))


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """One connection for a moment, kept in no pool; DatabaseUnreachableError names the address."""
    engine = make_engine(settings)
    try:
        with engine.connect() as connection:
            yield connection
    except OperationalError as error:
        url = engine.url.render_as_string(hide_password=True)
        raise DatabaseUnreachableError(f"no database at {url}: {cause(error)}") from error
    finally:
        engine.dispose()


@contextmanager
def one_session(settings: Settings) -> Iterator[Session]:
    """A session over such a connection, to read; DatabaseUnreachableError."""
    with connected(settings) as connection, Session(connection) as session:
        yield session
