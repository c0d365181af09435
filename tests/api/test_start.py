"""When the API refuses to start, and that it answers a stranger's requests nowhere else."""

from __future__ import annotations

import pytest

from app.errors import DatabaseUnreachableError, OldSchemaError, UnauthenticatedApiError
from app.main import create_app
from app.settings import Settings
from tests.servers import Postgres


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "::", "example.org"])  # noqa: S104 - the point
def test_it_does_not_listen_to_everybody_without_keys(settings: Settings, host: str) -> None:
    with pytest.raises(UnauthenticatedApiError, match="EVALQ_ALLOW_UNAUTHENTICATED"):
        create_app(settings.model_copy(update={"host": host}))
    create_app(settings.model_copy(update={"host": host, "allow_unauthenticated": True}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_it_listens_on_loopback(settings: Settings, host: str) -> None:
    assert create_app(settings.model_copy(update={"host": host}))


def test_it_does_not_start_on_an_old_schema(postgres: Postgres, settings: Settings) -> None:
    with postgres.database(template="template0") as url, pytest.raises(OldSchemaError, match="evalq migrate"):
        create_app(settings.model_copy(update={"database_url": url}))


def test_it_does_not_start_without_a_database(settings: Settings) -> None:
    with pytest.raises(DatabaseUnreachableError, match="no database at"):
        create_app(settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/evalq"}))
