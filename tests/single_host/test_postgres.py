from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from app.errors import LocalStartError
from app.single_host.postgres import Postgres, unprivileged_account
from app.single_host.processes import Process
from tests.single_host.waiting import all_gone, eventually

# Runs a server and is killed by the test; argv: folder, sockets, log.
HOLDER = """
import sys, time
from pathlib import Path
from app.single_host.postgres import Postgres
from app.single_host.stopping import StopRequest
folder, sockets, log = map(Path, sys.argv[1:])
postgres = Postgres(folder=folder, sockets=sockets, log=log, stop=StopRequest(), say=lambda _: None)
process = postgres.launch()
postgres.await_ready(process)
print(process.pid, flush=True)
time.sleep(600)
"""


@contextmanager
def running(postgres: Postgres) -> Iterator[Process]:
    process = postgres.launch()
    try:
        postgres.await_ready(process)
        yield process
    finally:
        process.send_signal(postgres.stop_signal)
        process.wait(30)


def write(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def read(postgres: Postgres) -> int:
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute("SELECT answer FROM kept").fetchone()
    return int(row[0]) if row else 0


def held_by_another(folder: Path) -> subprocess.Popen[str]:
    (folder / "logs").mkdir(exist_ok=True)
    paths = [folder / "postgres", folder / "run", folder / "logs" / "postgres.log"]
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, paths)], stdout=subprocess.PIPE, text=True
    )


def server_of(holder: subprocess.Popen[str]) -> psutil.Process:
    assert holder.stdout is not None
    with holder.stdout:
        return psutil.Process(int(holder.stdout.readline()))


def test_it_serves_ends_when_asked_and_keeps_its_data(embedded: Postgres) -> None:
    with running(embedded) as first:
        write(embedded)
        family = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
    assert first.returncode == 0
    assert all_gone(family)
    with running(embedded):
        assert read(embedded) == 42


def test_it_listens_on_no_port_and_its_folders_are_private(embedded: Postgres, folder: Path) -> None:
    with running(embedded) as process:
        assert psutil.Process(process.pid).net_connections("inet") == []
    for private in (folder / "postgres", folder / "run"):
        assert private.stat().st_mode & 0o077 == 0


def test_it_never_runs_as_root(embedded: Postgres) -> None:
    account = unprivileged_account()
    expected = account.uid if account else os.geteuid()
    with running(embedded) as process:
        assert psutil.Process(process.pid).uids().effective == expected != 0


def test_it_ends_when_its_starter_is_killed(embedded: Postgres, folder: Path) -> None:
    holder = held_by_another(folder)
    server = server_of(holder)
    write(embedded)
    family = [server, *server.children(recursive=True)]
    holder.kill()
    holder.wait()
    assert all_gone(family)
    with running(embedded):
        assert read(embedded) == 42


def test_a_server_left_over_is_ended_first(embedded: Postgres, folder: Path) -> None:
    holder = held_by_another(folder)
    leftover = server_of(holder)
    try:
        with running(embedded) as process:
            assert process.pid != leftover.pid
            assert all_gone([leftover])
    finally:
        holder.kill()
        holder.wait()


def test_a_frozen_server_left_over_is_killed_in_the_end(
    embedded: Postgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.single_host.postgres.END_SECONDS", 0.2)
    holder = held_by_another(folder)
    leftover = server_of(holder)
    leftover.send_signal(signal.SIGSTOP)
    try:
        with running(embedded):
            assert all_gone([leftover])
    finally:
        holder.kill()
        holder.wait()


def test_a_number_that_another_process_has_now_is_no_server(embedded: Postgres, folder: Path) -> None:
    with running(embedded):
        write(embedded)
        stale = (folder / "postgres" / "postmaster.pid").read_text().split("\n")
    (folder / "postgres" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *stale[1:]]))
    with running(embedded):
        assert read(embedded) == 42


def test_a_server_that_cannot_start_says_why_in_one_line(embedded: Postgres, folder: Path) -> None:
    with running(embedded):
        pass
    (folder / "postgres" / "PG_VERSION").write_text("9\n")
    process = embedded.launch()
    with pytest.raises(LocalStartError, match=r"Postgres did not start: .+ \(log: .+postgres.log\)"):
        embedded.await_ready(process)
    assert eventually(lambda: process.poll() is not None)
