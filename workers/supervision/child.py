"""A child process under its shim: started whole, ended whole, whatever happens to either side."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from app.asking import as_here
from app.errors import ChildStartError
from workers.containment.bounds import Bounds
from workers.containment.own_folder import OwnFolder
from workers.protocol import frames
from workers.protocol.log_file import open_log
from workers.supervision.janitor import Mark, kill_marked

log = logging.getLogger(__name__)

READABLE = {"SPT_NOENV": "1"}
"""Has setproctitle keep off the environment: the titles of vLLM's processes would be written over the mark."""

_SHIM = Path(__file__).with_name("shim.py")
_START_PATIENCE_SECONDS = 60.0
_KILL_PATIENCE_SECONDS = 30.0


class Child:
    """A running command, its frames, and the power to end it with all its descendants.

    If this process dies, however it dies, the shim ends the command. Leaving the context stops it.
    Methods may be called from several threads. Never fork this process without exec: the copy would keep the
    shim's socket open, and the shim would not see this process end.
    """

    def __init__(
        self,
        shim: subprocess.Popen[bytes],
        control: socket.socket,
        connection: frames.Connection,
        mark: Mark,
        folder: OwnFolder,
    ) -> None:
        self.connection = connection
        self._shim = shim
        self._control = control
        self._mark = mark
        self._folder = folder
        self._exit_status: int | None = None
        self._ended = threading.Event()
        self._gone = threading.Event()
        self._stopped = False
        self._outgrew: str | None = None
        self.pid = _first_report(shim, control)
        threading.Thread(target=as_here(self._watch), name=f"child-{self.pid}", daemon=True).start()

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        mark: Mark,
        bounds: Bounds,
        orphan_grace_seconds: float = 5.0,
    ) -> Child:
        """Start a command that finds its socket's number in EVALQ_FD and writes stdout and stderr to the log.

        It runs in an empty folder of its own, which goes with it, as do its temporary files.
        `env` is its whole environment, but for EVALQ_FD, TMPDIR, the mark and what keeps that readable.
        `orphan_grace_seconds` is what it has between SIGTERM and SIGKILL when this process dies. What passes
        `bounds` is killed. Raises ChildStartError.
        """
        control, shim_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection, command_socket = frames.pair()
        folder = OwnFolder()
        try:
            with shim_control, command_socket:
                fds = (shim_control.fileno(), command_socket.fileno())
                command = [str(fds[0]), str(fds[1]), str(orphan_grace_seconds), str(folder.root)]
                command += [",".join(map(str, bounds)), *argv]
                ours = {mark.name: mark.value, "EVALQ_FD": str(fds[1]), "TMPDIR": str(folder.temporary)}
                shim = _start_shim(command, {**env, **ours, **READABLE}, log_path, fds, folder.path)
            return cls(shim, control, connection, mark, folder)
        except BaseException:
            control.close()
            connection.close()
            folder.remove()
            raise

    @property
    def alive(self) -> bool:
        """Whether the command itself still runs."""
        return not self._ended.is_set()

    @property
    def exit_status(self) -> int | None:
        """Its exit code, or a signal's number negated; None while it runs."""
        return self._exit_status

    @property
    def was_stopped(self) -> bool:
        """Whether it was running when this side first asked it to end."""
        return self._stopped

    @property
    def outgrew(self) -> str | None:
        """Which of its bounds it passed and was killed for, in words."""
        return self._outgrew

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """The exit status once the command has ended, or None when the time is over."""
        self._ended.wait(timeout_seconds)
        return self._exit_status

    def wait_gone(self, timeout_seconds: float | None = None) -> bool:
        """Whether, within that time, the command and every descendant have gone."""
        return self._gone.wait(timeout_seconds)

    def live_until(self, moment: float) -> None:
        """Let the shim kill it at that moment of time.monotonic(), unless told a later one: a lease's fence.

        It holds while this process is frozen or hangs in a database call.
        """
        self._order(f"until {moment}")

    def stop(self, grace_seconds: float) -> bool:
        """TERM, the grace, then KILL until no descendant is left; False if one hangs in the kernel even so.

        Safe to repeat, also with a shorter grace from another thread.
        """
        if self.alive:
            self._stopped = True
        self._order(f"stop {grace_seconds}")
        return self.wait_gone(grace_seconds + _KILL_PATIENCE_SECONDS)

    def kill(self) -> bool:
        """KILL at once, likewise."""
        return self.stop(0.0)

    def _order(self, words: str) -> None:
        with contextlib.suppress(OSError):  # the shim is gone, and what it guarded with it
            self._control.send(words.encode())

    def _watch(self) -> None:
        """Follow the shim's reports to their end. A shim that died first leaves its tree to the janitor."""
        while report := _receive(self._control):
            kind, _, words = report.partition(" ")
            if kind == "outgrew":
                self._outgrew = words
            else:
                self._end(int(words))
        cleaned = self._shim.wait() == 0 or self._clean_up()
        if self.alive:
            self._end(-signal.SIGKILL)
        self._control.close()
        if cleaned:
            self._folder.remove()
            self._gone.set()

    def _clean_up(self) -> bool:
        """Do the work of a shim that was killed."""
        try:
            kill_marked(self._mark)
        except TimeoutError:
            log.exception("a process of %s=%s cannot be killed", self._mark.name, self._mark.owner)
            return False
        return True

    def _end(self, exit_status: int) -> None:
        self._exit_status = exit_status
        self._ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(0.0)
        self.connection.close()


def _start_shim(
    command: list[str], env: Mapping[str, str], log_path: Path, fds: tuple[int, int], folder: Path
) -> subprocess.Popen[bytes]:
    output = open_log(log_path)
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SHIM), *command],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=fds,
            start_new_session=True,
        )
    finally:
        os.close(output)


def _first_report(shim: subprocess.Popen[bytes], control: socket.socket) -> int:
    """The command's process id."""
    control.settimeout(_START_PATIENCE_SECONDS)
    report = _receive(control)
    control.settimeout(None)
    if not report.startswith("started "):
        shim.wait()
        raise ChildStartError(
            report.removeprefix("failed ") or "the shim ended before it started the command"
        )
    return int(report.removeprefix("started "))


def _receive(control: socket.socket) -> str:
    try:
        return control.recv(256).decode(errors="replace")
    except ConnectionResetError:
        return ""
