"""The coordinator's handle on the fork server that starts harness children."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import msgpack

from app.settings import Settings
from workers.containment.bounds import Bounds
from workers.protocol.fork_server import Look, Spawn
from workers.protocol.frames import Connection, pair
from workers.protocol.log_file import open_log
from workers.protocol.messages import packed
from workers.supervision.child_bounds import harness_bounds
from workers.supervision.environment import child_environment

STOP_SECONDS = 5.0

GONE_SECONDS = 1.0
"""A process whose sockets are closed already can be waited for within milliseconds."""

SILENT_LOOKS = 4
"""So often in a row the server may leave a look unanswered. Looks, not seconds: time in which this process is
frozen itself does not count."""

PRELOAD_LOOKS = 120
"""Likewise until its first answer: it imports for a while, from a slow disk for longer."""

LOOK = msgpack.packb(packed(Look()))

log = logging.getLogger(__name__)


def harness_server(settings: Settings) -> HarnessServer:
    """As a coordinator of this host needs it."""
    return HarnessServer(
        env=child_environment(os.environ, settings.child_env),
        bounds=harness_bounds(settings),
        log_path=settings.data_dir / "logs" / "jobs" / "server.log",
    )


class HarnessServer:
    """Starts a harness child per job in milliseconds, from a process that has imported lm-eval.

    The server and all its children end with this object's process. A server that died is started again
    by the next `spawn` or `look`; its children died with it, and each job's connection says so.
    """

    def __init__(self, *, env: Mapping[str, str], bounds: Bounds, log_path: Path | None = None) -> None:
        """`env` is all the children see of the environment, without credentials; `bounds` are each one's own."""
        self._bounds = bounds
        self._env = dict(env)
        self._log_path = log_path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._forked_by: WeakKeyDictionary[Connection, subprocess.Popen[bytes]] = WeakKeyDictionary()
        self._unanswered = 0
        self._has_answered = False

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server if it does not run; preloading goes on after this returns."""
        with self._lock:
            self._ensure_started()

    def spawn(self, log_path: Path) -> Connection:
        """A connection to a new harness child that logs to `log_path`; how it ends is told last, by `Exited`."""
        order = msgpack.packb(packed(Spawn(str(log_path), tuple(self._bounds))))
        ours, theirs = pair()
        with ExitStack() as undone:
            undone.callback(ours.close)
            with theirs, self._lock:
                self._forked_by[ours] = self._taken(order, theirs)
            undone.pop_all()
        return ours

    def died_under(self, connection: Connection) -> bool:
        """Whether the server that forked the child of an ended stream is gone: the child went with it."""
        try:
            self._forked_by[connection].wait(GONE_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def look(self) -> bool:
        """Ask for a sign of life; a server that gave none to several looks is frozen, and another one replaces it.

        Whether it has answered since it was last asked. To be called every few seconds: it does not wait. Nothing
        is started before `start`, nor after `stop`.
        """
        with self._lock:
            if self._process is None:
                return False
            heard = self._hears(self._ensure_started())
            if not heard and self._unanswered > (SILENT_LOOKS if self._has_answered else PRELOAD_LOOKS):
                log.error("the fork server %d answers no more: starting another one", self._process.pid)
                self._process.kill()
                self._end()
                self._ensure_started()
            return heard

    def _hears(self, control: socket.socket) -> bool:
        """Ask, or see whether an earlier look was answered: one at a time is on its way."""
        answered = False
        with suppress(OSError):  # no answer yet; or it died, which the next look sees
            if self._unanswered:
                answered = bool(control.recv(len(LOOK), socket.MSG_DONTWAIT))
            else:
                control.send(LOOK, socket.MSG_DONTWAIT)
        self._has_answered = self._has_answered or answered
        self._unanswered = 0 if answered else self._unanswered + 1
        return answered

    def stop(self) -> None:
        """End the server and every child; safe to repeat."""
        with self._lock:
            self._end()

    def _taken(self, order: bytes, sock: socket.socket) -> subprocess.Popen[bytes]:
        """The server that took the order; OSError where none can be started."""
        try:
            self._order(order, sock)
        except OSError:  # it died since it was last looked at
            self._end()
            self._order(order, sock)
        assert self._process is not None  # noqa: S101 - it took the order
        return self._process

    def _order(self, order: bytes, sock: socket.socket) -> None:
        socket.send_fds(self._ensure_started(), [order], [sock.fileno()])

    def _ensure_started(self) -> socket.socket:
        if self._control is not None and self.alive:
            return self._control
        self._end()
        self._unanswered, self._has_answered = 0, False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = self._launch(theirs.fileno())
        return self._control

    def _launch(self, descriptor: int) -> subprocess.Popen[bytes]:
        log = open_log(self._log_path) if self._log_path else None
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "workers.harness_child.main"],
                env=self._env | {"EVALQ_FD": str(descriptor)},
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            if log is not None:
                os.close(log)

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            _await_end(self._process)
            self._process = None


def _await_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
