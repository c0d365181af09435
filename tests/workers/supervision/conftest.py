from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from workers.containment.bounds import Bounds
from workers.supervision.child import Child
from workers.supervision.janitor import Mark, kill_marked

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENCE_SECONDS = 20.0
UNBOUNDED = Bounds()


def is_running(pid: int) -> bool:
    """Whether the process lives; a zombie holds nothing any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


@pytest.fixture
def all_gone() -> Callable[[list[int]], bool]:
    """Whether all of the processes are gone within a bound."""

    def wait(pids: list[int]) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(map(is_running, pids)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return not any(map(is_running, pids))

    return wait


@pytest.fixture
def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


@pytest.fixture
def mark() -> Iterator[Mark]:
    """A replica's mark; whatever still carries it afterwards is killed."""
    mark = Mark.replica(uuid.uuid4())
    yield mark
    kill_marked(mark)


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "child.log"


@pytest.fixture
def start(mark: Mark, log_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Child]]:
    """Starts a command under a shim."""
    with ExitStack() as children:

        def start(*argv: str, bounds: Bounds = UNBOUNDED, **extra: str) -> Child:
            child = Child.start(argv, env=environment | extra, log_path=log_path, mark=mark, bounds=bounds)
            return children.enter_context(child)

        yield start


@pytest.fixture
def start_family(start: Callable[..., Child]) -> Callable[[str], tuple[Child, list[int]]]:
    """Starts a process tree: the child, and the ids of all in it."""

    def start_family(conduct: str) -> tuple[Child, list[int]]:
        child = start(sys.executable, str(HERE / "family.py"), conduct)
        ready = child.connection.receive(PATIENCE_SECONDS)
        assert ready is not None
        return child, ready["pids"]

    return start_family


@pytest.fixture
def start_supervisor(
    mark: Mark, log_path: Path, environment: dict[str, str]
) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], dict[str, Any]]]]:
    """Starts a supervisor in a process of its own: it, and the ids of its shim and of its family."""
    with ExitStack() as supervisors:

        def start_supervisor(lease_seconds: str = "inf") -> tuple[subprocess.Popen[str], dict[str, Any]]:
            supervisor = supervisors.enter_context(
                subprocess.Popen(
                    [sys.executable, str(HERE / "supervisor.py"), str(log_path), mark.owner, lease_seconds],
                    env=environment,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            supervisors.callback(supervisor.kill)
            assert supervisor.stdout is not None
            return supervisor, json.loads(supervisor.stdout.readline())

        yield start_supervisor
