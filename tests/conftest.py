"""Fixtures shared by all tests: servers once per run, a fresh migrated database per test."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from app.db.session import Sessions, make_sessions
from app.settings import Settings
from tests.gpus.machine import Machine, load_anew, made
from tests.quick import is_slow, needs_server, refuse_servers
from tests.servers import Postgres, running_postgres, running_valkey
from tests.workers.fake_nvml import nvml_library
from tests.world import World, make_world

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the real hub; those of the hub's own start one
os.environ["EVALQ_SPARE_ENGINES"] = "0"  # importing would take the cores of what is tested


def pytest_addoption(parser: pytest.Parser) -> None:
    """For tests/api/test_generated_requests.py, and for `make quick`."""
    parser.addoption("--requests", type=int, default=300, help="how many odd requests are made")
    parser.addoption("--seed", default="1", help="which")
    parser.addoption("--quick", action="store_true", help="only tests that start no server and no model")


def pytest_configure(config: pytest.Config) -> None:
    """Hold `--quick` to its word; how long an example takes says something of the machine alone."""
    hypothesis.settings.register_profile("evalq", deadline=None)
    hypothesis.settings.load_profile("evalq")
    if config.getoption("quick"):
        sys.addaudithook(refuse_servers)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--quick`, what is slow is not even imported."""
    return True if config.getoption("quick") and is_slow(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long, lest a process ends on it alone; with `--quick`, leave out what needs a server."""
    items.sort(key=lambda item: not is_slow(item.path))
    if config.getoption("quick"):
        config.hook.pytest_deselected(items=[item for item in items if needs_server(item)])
        items[:] = [item for item in items if not needs_server(item)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One Postgres for the whole run; its folder has a short name because sockets must."""
    with (
        tempfile.TemporaryDirectory(prefix="evalq-pg-", ignore_cleanup_errors=True) as folder,
        running_postgres(Path(folder)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Valkey for the whole run."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """A migrated, empty database of the test's own."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a process that shares the test's servers."""
    return Settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path / "data")


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    """Sessions on the test's database."""
    made = make_sessions(settings)
    yield made
    made.close()


@pytest.fixture
def world(sessions: Sessions, settings: Settings) -> World:
    """Every service over the test's database."""
    return make_world(sessions, settings)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Puts a machine with these GPUs, and these failing functions, in place of this one."""
    return made(tmp_path, monkeypatch)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without NVML in place of this one."""
    monkeypatch.delenv(nvml_library.STATE_VARIABLE, raising=False)
    load_anew(monkeypatch)
