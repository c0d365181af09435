"""The parts of a deployment refuse what they cannot work with, in one line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.cli.parts import CELERY
from app.settings import current
from app.single_host.parts import evalq_command
from app.single_host.ports import free_port
from tests.servers import Postgres


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | env, check=False, timeout=120
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["api"],
        ["scheduler"],
        ["worker", "--role", "coordinator"],
        ["worker", "--group", "a", "--devices", "cpu:1"],
    ],
    ids=" ".join,
)
def test_a_part_refuses_an_old_schema(postgres: Postgres, arguments: Sequence[str]) -> None:
    with postgres.database(template="template0") as url:
        answer = run(*arguments, EVALQ_DATABASE_URL=url, EVALQ_PORT=str(free_port()))
    assert answer.returncode == 1
    assert answer.stderr.startswith("evalq: the database is at schema None, this version needs ")
    assert answer.stderr.endswith(": run `evalq migrate`\n")
    assert len(answer.stderr.splitlines()) == 1


def test_migrate_brings_a_database_up_to_date_and_is_safe_to_repeat(postgres: Postgres) -> None:
    with postgres.database(template="template0") as url:
        first, second = (run("migrate", EVALQ_DATABASE_URL=url) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "migrated\n")
    assert (second.returncode, second.stderr) == (0, "the schema is up to date\n")


def test_a_database_of_a_newer_version_is_left_alone(postgres: Postgres) -> None:
    with postgres.database() as url:
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'from the future'")
        answer = run("migrate", EVALQ_DATABASE_URL=url)
    assert answer.returncode == 1
    assert answer.stderr.startswith("evalq: a newer evalq has migrated this database: ")
    assert len(answer.stderr.splitlines()) == 1


def test_the_api_refuses_to_listen_beyond_loopback_without_keys(database_url: str) -> None:
    answer = run("api", "--host", "0.0.0.0", "--port", str(free_port()), EVALQ_DATABASE_URL=database_url)  # noqa: S104
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].startswith("evalq: refusing to listen on 0.0.0.0 without keys")
    assert "Traceback" not in answer.stderr


def test_the_api_names_a_taken_port(database_url: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        answer = run("api", "--port", str(port), EVALQ_DATABASE_URL=database_url)
    assert answer.returncode == 1
    assert answer.stderr == f"evalq: port {port} on 127.0.0.1 is taken: choose another with --port\n"


@pytest.mark.parametrize(
    "arguments", [[], ["--role", "coordinator", "--group", "a"], ["--devices", "0", "--role", "coordinator"]]
)
def test_a_worker_is_either_a_coordinator_or_of_a_group(arguments: Sequence[str]) -> None:
    answer = CliRunner().invoke(cli, ["worker", *arguments])
    assert answer.exit_code == 2
    assert "either --role coordinator, or --group NAME" in answer.stderr


def test_a_group_needs_devices() -> None:
    answer = run("worker", "--group", "a")
    assert answer.returncode == 1
    assert "expected NAME=DEVICES, and as devices cpu:2" in answer.stderr


def test_an_unknown_backend_is_wrong_usage() -> None:
    answer = CliRunner().invoke(cli, ["backends", "install", "vlllm"])
    assert answer.exit_code == 2
    assert "there are hf" in answer.stderr


def test_a_backend_that_is_only_planned_cannot_be_installed() -> None:
    answer = CliRunner().invoke(cli, ["backends", "install", "sglang"])
    assert answer.exit_code == 2
    assert "has no engine for it to install; there are hf" in answer.stderr


@pytest.mark.parametrize("verb", [["download", "vlllm", "folder"], ["remove", "vlllm"]])
def test_other_verbs_know_their_backends_too(verb: Sequence[str]) -> None:
    answer = CliRunner().invoke(cli, ["backends", *verb])
    assert answer.exit_code == 2
    assert "there is no backend 'vlllm'" in answer.stderr


def test_a_folder_and_an_index_exclude_each_other(tmp_path: Path) -> None:
    arguments = ["--from", str(tmp_path), "--index", "http://127.0.0.1:9"]
    answer = CliRunner().invoke(cli, ["backends", "install", "hf", *arguments])
    assert answer.exit_code == 2
    assert "either --index or --from" in answer.stderr


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An EVALQ_CACHE of one's own."""
    monkeypatch.setenv("EVALQ_CACHE", str(tmp_path))
    current.cache_clear()
    yield tmp_path
    current.cache_clear()


def test_the_backends_are_listed_with_their_environments(cache: Path) -> None:
    (cache / "backends" / "hf-0123456789ab").mkdir(parents=True)
    answer = CliRunner().invoke(cli, ["backends", "list"])
    assert answer.exit_code == 0
    header, *rows = [line.split("  ") for line in answer.stdout.splitlines()]
    assert answer.stderr.startswith("planned, not run: megatron_lm, nemo_lm, sglang")
    assert [cell.strip() for cell in header if cell] == [
        *("NAME", "STATE", "VERSIONS", "SIZE", "ENVIRONMENT", "HEALTH")
    ]
    states = {(row[0].strip(), cell.strip()) for row in rows for cell in row[1:]}
    assert {("hf", "not installed"), ("vllm-cpu", "not installed"), ("hf", "of other pins")} <= states
    told = json.loads(CliRunner().invoke(cli, ["backends", "list", "--json"]).stdout)
    assert {(row["name"], row["state"]) for row in told} <= states
    assert CliRunner().invoke(cli, ["backends", "list", "-q"]).stdout.split().count("hf") == 1


def test_what_other_pins_left_behind_is_removed(cache: Path) -> None:
    left = cache / "backends" / "hf-0123456789ab"
    left.mkdir(parents=True)
    answer = CliRunner().invoke(cli, ["backends", "remove", "hf", "--old"])
    assert (answer.exit_code, answer.stdout) == (0, f"{left}\n")
    assert not left.exists()


DECOY = "import pathlib\npathlib.Path(__file__).with_name('RAN').touch()\nraise SystemExit('not evalq')\n"


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    """A folder in which every module that evalq might ask for is somebody else's."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text(DECOY)
    names = {name.split(".")[0] for name in packages_distributions()} | sys.stdlib_module_names | {"app"}
    for name in names - {"workers"}:
        (tmp_path / f"{name}.py").write_text(DECOY)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [evalq_command("worker", "--help"), [sys.executable, *CELERY, "--help"]],
    ids=["part", "celery"],
)
def test_what_runs_is_what_is_installed(decoys: Path, command: list[str]) -> None:
    answer = subprocess.run(command, cwd=decoys, capture_output=True, text=True, check=False, timeout=120)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "usage" in answer.stdout.lower()
    assert not (decoys / "RAN").exists()
