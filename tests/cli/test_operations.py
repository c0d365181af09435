"""`evalq doctor` and `evalq prune`, on real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psutil
import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from app.cli.main import cli
from app.cli.operations import parse_age
from app.db.leader import Leadership
from app.domain.job_filter import JobFilter
from app.settings import Settings
from app.single_host.ports import free_port
from app.single_host.running import settings_beside
from tests.servers import running_postgres
from tests.world import World

Evalq = Callable[..., Result]
THIS_HOST = {"api", "backends", "EVALQ_DATA_DIR", "EVALQ_CACHE", "shared memory"}
"""What a test cannot know."""


@pytest.fixture
def evalq(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Evalq:
    """The command, on the test's servers."""
    monkeypatch.setenv("EVALQ_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("EVALQ_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("EVALQ_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("EVALQ_URL", f"http://127.0.0.1:{free_port()}")
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


def found(answer: Result) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in json.loads(answer.stdout)}


@contextmanager
def working_for(owner: object, mark: str = "EVALQ_REPLICA") -> Iterator[int]:
    """A process marked as a replica's."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"],
        env=os.environ | {mark: str(owner)},
        stdin=subprocess.PIPE,
    ) as process:
        yield process.pid
        process.kill()


def test_doctor_of_a_service_as_it_should_be(evalq: Evalq, world: World, settings: Settings) -> None:
    world.devices(1)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE gpu_groups SET version = :version"), {"version": version("evalq")})
    with Leadership(settings).sought(60.0):
        answer = evalq("doctor", "--json")
    states = {check: finding["state"] for check, finding in found(answer).items()}
    assert answer.exit_code == 0, answer.stdout
    assert {check for check, state in states.items() if state == "warning"} <= THIS_HOST
    assert {"database", "clock", "connections", "schema", "broker", "queues", "scheduler"} <= states.keys()
    assert {"group a", "coordinators", "devices", "jobs", "processes"} <= states.keys()


def test_doctor_names_what_is_wrong_and_what_to_do(evalq: Evalq, world: World) -> None:
    answer = evalq("doctor")
    assert answer.exit_code == 1
    assert "fault    scheduler" in answer.stdout
    assert "-> start `evalq scheduler`; see its log" in answer.stdout


def test_doctor_finds_processes_of_ended_replicas(evalq: Evalq, world: World) -> None:
    [device] = world.devices(1)
    replica = world.placed(device)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE devices SET state = 'free', replica_id = NULL"))
        session.execute(text("UPDATE replicas SET status = 'lost', ended_at = now()"))
        spare = session.execute(text("UPDATE replicas SET spare_id = gen_random_uuid() RETURNING spare_id"))
        mark = f"{spare.scalar_one()}|worker"
    with (
        working_for(replica) as stray,
        working_for(mark, "EVALQ_SPARE") as taken,
        working_for(uuid4()) as other,
    ):
        checks = found(evalq("doctor", "--json"))
    assert checks[f"process {stray}"]["state"] == "fault"
    assert checks[f"process {taken}"]["state"] == "fault"
    assert f"process {other}" not in checks, "another evalq's"


def test_doctor_does_not_wait_for_a_database_that_hangs(tmp_path: Path, evalq: Evalq, redis_url: str) -> None:
    folder = Path("/tmp") / f"evalq-{uuid4().hex[:8]}"  # noqa: S108 - short, for a socket
    folder.mkdir()
    with running_postgres(folder) as server, server.database() as url:
        pid = int((folder / "postmaster.pid").read_text().split()[0])
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # the backend of a test that has just ended
                process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        answer = subprocess.run(
            [sys.executable, "-m", "app.cli", "doctor", "--json"],
            env=os.environ | {"EVALQ_DATABASE_URL": url, "EVALQ_REDIS_URL": redis_url},
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.monotonic() - began
        for process in reversed(processes):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
    checks = {finding["check"]: finding for finding in json.loads(answer.stdout)}
    assert answer.returncode == 1
    assert checks["database"]["says"] == "no answer within 6 s"
    assert checks["broker"]["state"] == "ok"
    assert took < 20


def test_prune_removes_what_was_asked_for_and_says_what(
    evalq: Evalq, world: World, settings: Settings
) -> None:
    for _ in range(2):
        lease = world.running()
        world.coordination.add_log(lease.id, "a line\n")
        world.coordination.finish(lease, "{}", "tiny", "today")
    log = settings.data_dir / "logs" / "jobs" / "old.log"
    log.parent.mkdir(parents=True)
    log.touch()
    os.utime(log, (0, 0))

    dry = evalq("prune", "--older-than", "0d", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "2 jobs would be removed" in dry.stdout
    logs = evalq("prune", "--older-than", "1d", "--logs")
    assert logs.stdout == "0 log pieces removed\n1 log files removed\n"
    assert not log.exists()
    everything = evalq("prune", "--older-than", "0d").stdout
    assert everything.startswith("2 jobs removed\n0 ended replicas removed\n0 measures of engines removed\n")
    assert world.jobs.page(JobFilter(), 10, None).views == []


def test_prune_without_an_age_goes_by_the_settings(evalq: Evalq, world: World) -> None:
    lease = world.running()
    world.coordination.finish(lease, "{}", "tiny", "today")
    answer = evalq("prune", "--jobs")
    assert answer.stdout.startswith("nothing is kept for a limited time")
    assert evalq("prune", "--older-than", "0d", "--jobs").stdout.startswith("1 jobs removed")


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1y"])
def test_an_age_that_is_none_is_wrong_usage(evalq: Evalq, age: str) -> None:
    answer = evalq("prune", "--older-than", age)
    assert answer.exit_code == 2
    assert "30d, 12h or 90m" in answer.stderr


def test_ages_are_days_hours_or_minutes() -> None:
    read = [parse_age(None, None, value) for value in ("30d", "1.5h", "90m", None)]  # type: ignore[arg-type]
    assert read == [timedelta(days=30), timedelta(hours=1.5), timedelta(minutes=90), None]


def test_the_servers_of_evalq_up_are_found_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVALQ_DATABASE_URL", "EVALQ_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("postgres", "valkey"):
        (tmp_path / name).mkdir()
    (tmp_path / "postgres" / "postmaster.pid").write_text("1\n/data\n0\n5432\n/run/x\n\n")
    (tmp_path / "valkey" / "password").write_text("secret")
    (tmp_path / "valkey" / "port").write_text("7000")
    beside = settings_beside(tmp_path)
    assert beside.database_url == f"postgresql://postgres@/evalq?host={quote('/run/x', safe='')}"
    assert beside.redis_url == "redis://:secret@127.0.0.1:7000/0"
    monkeypatch.setenv("EVALQ_DATABASE_URL", "postgresql://db/other")
    assert settings_beside(tmp_path).database_url == "postgresql://db/other"
    assert psycopg.conninfo.conninfo_to_dict(beside.database_url)["host"] == "/run/x"
