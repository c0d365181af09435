"""The whole service in real processes: two schedulers, a coordinator, two gpu workers, and what these start."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from app.single_host.ports import free_port
from tests.faults.servers import Broker, Database
from tests.waiting import until
from workers.engine_child.spare import NAME

HERE = Path(__file__).parent
TASKS = (HERE.parent / "e2e" / "tasks", HERE / "tasks")
GROUPS = ("a", "b")
MARK = "FAULTS_RUN"
READY_SECONDS = 90.0

PARTS: Mapping[str, Sequence[str]] = {
    "api": ["api"],
    "scheduler-1": ["scheduler"],
    "scheduler-2": ["scheduler"],
    "coordinator": ["worker", "--role", "coordinator"],
    **{f"worker-{name}": ["worker", "--group", name, "--devices", "cpu:2"] for name in GROUPS},
}
"""What an operator starts; the children follow from it."""

CHILDREN = ("fork server", "harness", "shim", "engine", "spare")


class Cluster:
    """Parts and children of one campaign, told from everybody else's by a mark in their environment."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        folder: Path,
        *,
        model: Path,
        settings: Mapping[str, str],
        journal: Path | None = None,
    ) -> None:
        self.run_id = secrets.token_hex(8)
        self._folder = folder
        self._port = free_port()
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self._port}/v1", timeout=20)
        self.settings = {
            "EVALQ_DATABASE_URL": database.url,
            "EVALQ_REDIS_URL": broker.url,
            "EVALQ_DATA_DIR": str(folder / "data"),
            "EVALQ_TASK_PATHS": ":".join(map(str, TASKS)),
            "EVALQ_MODEL_PATHS": str(model.parent),
            "EVALQ_ECHO_ENGINE": "true",
            "EVALQ_RESEND_SECONDS": "2",
            "EVALQ_SCHEDULE_SECONDS": "0.2",
            "EVALQ_CHILD_ENV": f"HF_HUB_OFFLINE,OMP_NUM_THREADS,{MARK}",
            **settings,
        }
        self._env = {
            **os.environ,
            **self.settings,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (HERE / "hooks", HERE.parents[1]))),
            MARK: self.run_id,
        } | ({"FAULTS_JOURNAL": str(journal)} if journal else {})

    def start(self, part: str, failpoint: str | None = None, **settings: str) -> None:
        """Start a part that does not run, to die at a commit if one is named, with settings of its own."""
        command = [sys.executable, "-m", "app.cli", *PARTS[part]]
        if part == "api":
            command += ["--port", str(self._port)]
        env = self._env | settings | ({"EVALQ_FAILPOINT": failpoint} if failpoint else {})
        with (self._folder / f"{part}.log").open("ab") as log:
            self.parts[part] = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def start_all(self) -> None:
        """Start what does not run and wake what is frozen."""
        for process in self.processes().values():
            send(process, signal.SIGCONT)
        for part in PARTS:
            if part not in self.parts or self.parts[part].poll() is not None:
                self.start(part)

    def await_ready(self) -> None:
        """Until the API answers and every group has its devices."""
        until(self._is_ready, READY_SECONDS)

    def kill(self, part: str) -> None:
        """SIGKILL a part's main process, frozen or not."""
        self.parts[part].kill()
        self.parts[part].wait()

    def stop(self, seconds: float = 20.0) -> None:
        """SIGTERM to all parts, then SIGKILL to whatever carries our mark."""
        for process in self.parts.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.parts.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        for marked in self.processes().values():
            send(marked, signal.SIGKILL)
        for process in self.parts.values():
            process.wait()
        self.http.close()

    def children(self, kind: str) -> list[psutil.Process]:
        """Running children of a kind."""
        return [p for p in self.processes().values() if kind_of(p) == kind]

    def processes(self) -> dict[int, psutil.Process]:
        """Every process of this campaign."""
        return {p.pid: p for p in psutil.process_iter() if environment(p).get(MARK) == self.run_id}

    def _is_ready(self) -> bool:
        try:
            if self.http.get(f"http://127.0.0.1:{self._port}/readyz").status_code != 200:
                return False
            groups = self.http.get("/groups").json()["data"]
        except httpx.HTTPError:
            return False
        states = [device["state"] for group in groups for device in group["devices"]]
        return len(groups) == len(GROUPS) and "dirty" not in states


def environment(process: psutil.Process) -> dict[str, str]:
    """What a process was started with; nothing for one that has gone or is not ours."""
    try:
        return process.environ()
    except psutil.Error:
        return {}


def owner_of(process: psutil.Process) -> str | None:
    """Whom an engine's process works for: a replica, or a spare that one may have taken."""
    found = environment(process)
    return found.get("EVALQ_REPLICA") or found.get("EVALQ_SPARE", "").partition("|")[0] or None


def kind_of(process: psutil.Process) -> str:
    """`engine`, `spare` (while it waits), `shim`, `harness`, `fork server`, or `part`."""
    try:
        command, name = " ".join(process.cmdline()), process.name()
        parent = process.parent()
        above = " ".join(parent.cmdline()) if parent else ""
    except psutil.Error:
        return "gone"
    if "harness_child.main" in command:
        return "harness" if "harness_child.main" in above else "fork server"
    if "shim.py" in command:
        return "shim"
    if name == NAME:
        return "spare"
    return "engine" if "bootstrap.py" in command else "part"


def send(process: psutil.Process, number: signal.Signals) -> None:
    """A signal, if the process is still there."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
