"""`evalq up` with one group, the way a person starts it, and the processes below it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from app.single_host.ports import free_port
from tests.client import Client, eventually

GROUP = "gpu"
START_SECONDS, STOP_SECONDS, RELEASE_SECONDS = 180.0, 90.0, 120.0


class Service(Client):
    """The whole service with embedded Postgres and Valkey, in a folder of its own."""

    def __init__(self, folder: Path, devices: str, env: Mapping[str, str]) -> None:
        port = free_port()
        self._log = folder / "up.log"
        super().__init__(port, self._log)
        command = [sys.executable, "-m", "app.cli", "up", "--port", str(port), "--data", str(folder / "data")]
        self._command = [*command, "--group", f"{GROUP}={devices}"]
        self._env = os.environ | dict(env)

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        try:
            eventually(lambda: self._process.poll() is not None or self.api_ready(), START_SECONDS, "an API")
            assert self._process.poll() is None, "evalq up ended"
            self.await_ready()
        except AssertionError as error:
            self.__exit__()
            raise AssertionError(f"{error}; {self._log.read_text()[-2000:]}") from error
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.http.close()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def group(self) -> dict[str, Any]:
        """The group with its devices and replicas."""
        (found,) = self.http.get("/groups").json()["data"]
        return dict(found)

    def states(self) -> set[str]:
        """Where its devices stand."""
        return {device["state"] for device in self.group()["devices"]}

    def release(self, *, resume: bool = True) -> None:
        """End its replicas, and wait until the devices are free again; for good unless it is to resume."""
        self.http.post(f"/groups/{GROUP}/drain")
        eventually(lambda: not self.group()["replicas"], RELEASE_SECONDS, "a group without replicas")
        if resume:
            self.resume()
        self.await_free()

    def resume(self) -> None:
        """Give it work again."""
        self.http.post(f"/groups/{GROUP}/resume")

    def interpreters(self) -> list[psutil.Process]:
        """Every engine child, spares among them."""
        return [process for process in self._below() if _KINDS["engine"](_words(process))]

    def await_free(self) -> None:
        """Until every device is free."""
        eventually(lambda: self.states() == {"free"}, RELEASE_SECONDS, "free devices")

    def find(self, kind: str) -> psutil.Process:
        """The engine child, vLLM's core, its shim, or the worker of the group; AssertionError where there is none."""
        found = [process for process in self._below() if _KINDS[kind](_words(process))]
        assert found, f"no {kind} is running"
        return found[0]

    def _below(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children(recursive=True)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _has(words: list[str], name: str) -> bool:
    return any(Path(word).name == name for word in words)


_KINDS: Mapping[str, Callable[[list[str]], bool]] = {
    "core": lambda words: words[:1] != [] and words[0].startswith("VLLM::EngineCore"),
    "engine": lambda words: _has(words, "bootstrap.py") and not _has(words, "shim.py"),
    "shim": lambda words: _has(words, "bootstrap.py") and _has(words, "shim.py"),
    "worker": lambda words: f"group.{GROUP}" in words,
}
