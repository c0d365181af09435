from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.single_host.data_directory import socket_folder
from app.single_host.postgres import Postgres
from app.single_host.stopping import StopRequest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path that another account can be let through, apart from pytest's own."""
    with tempfile.TemporaryDirectory(prefix="evalq-local-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def embedded(folder: Path) -> Iterator[Postgres]:
    """An embedded Postgres that has not been launched yet."""
    (folder / "logs").mkdir()
    with socket_folder(folder) as sockets:
        yield Postgres(
            folder=folder / "postgres",
            sockets=sockets,
            log=folder / "logs" / "postgres.log",
            stop=StopRequest(),
            say=lambda _: None,
        )
