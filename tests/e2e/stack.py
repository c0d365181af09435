"""The whole service in real processes, each of which a test may kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from app.local.ports import free_port

T = TypeVar("T")

TASKS = Path(__file__).parent / "tasks"
START_SECONDS = 90.0
TERMINAL = {"succeeded", "partially_failed", "failed", "cancelled"}


def eventually(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """What `look` finds, asked again until it is not None or false; an AssertionError names what never came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def settings(database_url: str, redis_url: str, folder: Path, models: Path) -> dict[str, str]:
    """What a stack is started with: quick turns, the tasks of these tests, the echo engine, and no hub."""
    return {
        "EVALQ_DATABASE_URL": database_url,
        "EVALQ_REDIS_URL": redis_url,
        "EVALQ_DATA_DIR": str(folder / "data"),
        "EVALQ_TASK_PATHS": str(TASKS),
        "EVALQ_MODEL_PATHS": str(models),
        "EVALQ_ECHO_ENGINE": "true",
        "EVALQ_SCHEDULE_SECONDS": "0.2",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


class Stack:
    """Api, scheduler, coordinator and one gpu worker; `parts` maps their names to processes."""

    def __init__(self, env: Mapping[str, str], folder: Path, devices: str = "cpu:2") -> None:
        port = free_port()
        self._env = {**os.environ, **env}
        self._folder = folder
        self._commands = {
            "api": ["api", "--port", str(port)],
            "scheduler": ["scheduler"],
            "coordinator": ["worker", "--role", "coordinator"],
            "worker": ["worker", "--group", "local", "--devices", devices],
        }
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=70)
        self._root = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        try:
            for name in self._commands:
                self.start(name)
            self.await_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self.parts.values():
            process.send_signal(signal.SIGTERM)
        for process in self.parts.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.http.close()

    def start(self, name: str, **env: str) -> None:
        """Start a part, with something more in its environment."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen(
                [sys.executable, "-m", "app.cli", *self._commands[name]],
                env=self._env | env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """SIGKILL a part's main process."""
        self.parts[name].kill()
        self.parts[name].wait()

    def await_ready(self) -> None:
        """Until the API answers and the group has its devices."""
        eventually(self._api_ready, START_SECONDS, f"a ready API; see {self._folder}")
        eventually(self._group_ready, START_SECONDS, f"a group with free devices; see {self._folder}")

    def submit(self, body: Mapping[str, Any]) -> str:
        """Post a job; its id."""
        answer = self.http.post("/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """The job now."""
        answer = self.http.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def until(
        self, job_id: str, holds: Callable[[dict[str, Any]], bool], seconds: float = 120
    ) -> dict[str, Any]:
        """The job once something holds of it; the API may be down meanwhile."""

        def look() -> dict[str, Any] | None:
            try:
                job = self.job(job_id)
            except httpx.TransportError:
                return None
            return job if holds(job) else None

        return eventually(look, seconds, f"job {job_id} as wanted; see {self._folder}")

    def finished(self, job_id: str, seconds: float = 240) -> dict[str, Any]:
        """The job once it is terminal."""
        return self.until(job_id, lambda job: job["status"] in TERMINAL, seconds)

    def run(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post a job and wait for it to succeed."""
        job = self.finished(self.submit(body))
        assert job["status"] == "succeeded", job
        return job

    def results(self, job_id: str) -> dict[str, Any]:
        """lm-eval's document."""
        answer = self.http.get(f"/jobs/{job_id}/results")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def artifact(self, job_id: str, beginning: str) -> str:
        """The one file of the job whose name begins so."""
        names = [item["name"] for item in self.http.get(f"/jobs/{job_id}/artifacts").json()["data"]]
        (name,) = [name for name in names if name.startswith(beginning)]
        return self.http.get(f"/jobs/{job_id}/artifacts/{name}").text

    def _api_ready(self) -> bool:
        try:
            return httpx.get(f"{self._root}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _group_ready(self) -> bool:
        groups = self.http.get("/groups").json()["data"]
        return any(device["state"] != "dirty" for group in groups for device in group["devices"])
