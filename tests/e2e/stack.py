"""The whole service in real processes, each of which a test may kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from app.single_host.ports import free_port
from tests.client import Client

TASKS = Path(__file__).parent / "tasks"


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


class Stack(Client):
    """Api, scheduler, coordinator and one gpu worker; `parts` maps their names to processes."""

    def __init__(self, env: Mapping[str, str], folder: Path, devices: str = "cpu:2") -> None:
        port = free_port()
        super().__init__(port, folder)
        self._env = {**os.environ, **env}
        self._folder = folder
        self._commands = {
            "api": ["api", "--port", str(port)],
            "scheduler": ["scheduler"],
            "coordinator": ["worker", "--role", "coordinator"],
            "worker": ["worker", "--group", "local", "--devices", devices],
        }
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.database_url = env["EVALQ_DATABASE_URL"]

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

    def told(self, name: str) -> str:
        """What a part has written to its log."""
        return (self._folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """SIGKILL a part's main process."""
        self.parts[name].kill()
        self.parts[name].wait()
