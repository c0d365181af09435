"""`evalq up` as a person runs it: a process, its children, its exit code and its one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from app.services.doctor.over_http import look_over_http
from app.single_host.ports import free_port
from app.single_host.running import running
from tests.single_host.waiting import all_gone, eventually

UP = [sys.executable, "-m", "app.cli", "up", "--group", "slots=cpu:1"]
VERSION = version("evalq")
PARTS = {"postgres", "valkey-server", "api", "scheduler", "coordinator", "group.slots"}


class Up:
    """Starts and ends `evalq up` over one data directory."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self.log = data.with_name("up.log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> list[psutil.Process]:
        """Everything it runs, once it is ready."""
        command = [*UP, "--port", str(self.port), "--data", str(self.data)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        assert eventually(lambda: self.ready() or self.process.poll() is not None, 120)  # type: ignore[union-attr]
        assert self.process.poll() is None, self.log.read_text()
        up = psutil.Process(self.process.pid)
        return [up, *up.children(recursive=True)]

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(f"postgresql://postgres@/evalq?host={self.data}/run") as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def up(folder: Path) -> Iterator[Up]:
    started = Up(folder / "data")
    yield started
    if started.process:
        started.process.kill()
        started.process.wait()


def command_of(process: psutil.Process) -> str:
    """Its command line; empty once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def failing(*arguments: str, **env: str) -> str:
    """Runs `evalq up`, which must fail with exit code 1; its last line."""
    answer = subprocess.run(
        [*UP, *arguments], capture_output=True, text=True, env=os.environ | env, check=False, timeout=60
    )
    assert answer.returncode == 1, answer.stderr
    lines = answer.stderr.strip().splitlines()
    assert sum(line.startswith("evalq: ") for line in lines) == 1, answer.stderr
    assert "Traceback" not in answer.stderr
    return lines[-1]


def test_it_starts_outlives_a_kill_and_stops_in_order(up: Up) -> None:
    first = up.start()
    commands = " ".join(command_of(process) for process in first)
    assert all(part in commands for part in PARTS)
    up.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    up.end(signal.SIGKILL)
    assert all_gone(first)

    second = up.start()
    assert up.execute("SELECT answer FROM kept") == [(42,)]
    [here] = [one for one in running() if one.is_at(f"http://localhost:{up.port}")]
    assert (here.settings.data_dir, here.url) == (up.data, f"http://127.0.0.1:{up.port}")
    assert here.settings.database_url.startswith("postgresql://")
    assert eventually(lambda: {found.state for found in look_over_http(here.url, None, VERSION)} == {"ok"})
    worker = next(process for process in second if "group.slots" in command_of(process))
    worker.kill()

    def replaced() -> bool:
        children = psutil.Process(second[0].pid).children()
        return any("group.slots" in command_of(child) for child in children if child.pid != worker.pid)

    assert eventually(replaced)
    everything = [second[0], *second[0].children(recursive=True)]
    assert up.end(signal.SIGINT) == 0
    assert all_gone(everything)
    assert "worker-slots ended (signal 9); starting it again in 1 s" in up.log.read_text()


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        line = failing("--port", port, "--data", str(tmp_path / "data"))
    assert line == f"evalq: port {port} on 127.0.0.1 is taken: choose another with --port"
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_gpu_that_is_not_there_is_named_before_anything_starts(tmp_path: Path) -> None:
    line = failing("--group", "gone=99", "--data", str(tmp_path / "data"))
    assert line.startswith("evalq: group gone: there is no GPU 99: this host ")
    assert not (tmp_path / "data").exists()


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = failing("--data", str(tmp_path / "file" / "data"))
    assert line == f"evalq: cannot write to the data directory {tmp_path}/file/data: Not a directory"


def test_an_unreachable_database_is_named_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://evalq:geheim@127.0.0.1:1/evalq"
    line = failing("--port", str(free_port()), "--data", str(tmp_path / "data"), EVALQ_DATABASE_URL=url)
    assert "no database at" in line
    assert "geheim" not in line


def test_an_unreachable_broker_is_named(tmp_path: Path) -> None:
    urls = {
        "EVALQ_DATABASE_URL": "postgresql://127.0.0.1:1/evalq",
        "EVALQ_REDIS_URL": "redis://:geheim@127.0.0.1:1/0",
    }
    line = failing("--port", str(free_port()), "--data", str(tmp_path / "data"), **urls)
    assert line.startswith("evalq: no Redis at 127.0.0.1:1: ")
    assert "geheim" not in line
