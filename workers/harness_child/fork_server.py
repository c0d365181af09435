"""The fork server: imports lm-eval once, then forks a ready child for every job.

It stays single-threaded, so that a fork copies a sound process.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import msgpack

from workers.containment.bounds import Bounds, Watch, below, limit_files
from workers.containment.own_folder import OwnFolder
from workers.protocol.fork_server import TO_FORK_SERVER, Exited, Look, Spawn
from workers.protocol.frames import Connection
from workers.protocol.harness import FailureTold, JobFailed
from workers.protocol.log_file import open_log
from workers.protocol.messages import packed

Serve = Callable[[Connection], int]
"""Serve one job on its connection; the exit status of the child."""

MAX_ORDER_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


@dataclass
class _Child:
    """A forked job: its process, the server's copy of its socket, and the folder it runs in."""

    pid: int
    pidfd: int
    sock: socket.socket
    folder: OwnFolder
    watch: Watch
    outgrew: str | None = None
    """Which of its bounds it passed and was killed for, in words."""
    status: int | None = None


class ForkServer:
    """Forks a child per order, reaps it, and tells the coordinator how it ended."""

    def __init__(self, control: socket.socket, serve: Serve) -> None:
        self._control = control
        self._serve = serve
        self._children: dict[int, _Child] = {}
        """By both descriptors that are polled for a child."""
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def run(self) -> None:
        """Serve until the control socket ends; then no child is left."""
        gc.collect()
        gc.freeze()  # what is preloaded stays shared between the children
        while self._turn():
            pass
        for child in {child.pid: child for child in self._children.values()}.values():
            kill_session(child.pid)
            child.folder.remove()

    def _turn(self) -> bool:
        """Handle what happened; False once the coordinator worker is gone."""
        for descriptor, _ in self._poll.poll(self._patience_ms()):
            if descriptor == self._control.fileno():
                if not self._take_order():
                    return False
            elif child := self._children.get(descriptor):
                self._attend(child, descriptor)
        for child in self._running():
            self._watch(child)
        return True

    def _running(self) -> list[_Child]:
        return [child for descriptor, child in self._children.items() if descriptor == child.pidfd]

    def _patience_ms(self) -> float | None:
        look_at = min((child.watch.look_at for child in self._running()), default=math.inf)
        return None if look_at == math.inf else 1000 * max(look_at - time.monotonic(), 0)

    def _watch(self, child: _Child) -> None:
        """Kill a child that has passed its bounds; how it ends then tells why."""
        child.outgrew = child.watch.look(lambda: family(child.pid)) or child.outgrew
        if child.outgrew:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # what forks for ever would outrun a walk
            for pid in family(child.pid):
                _kill(pid)

    def _take_order(self) -> bool:
        """Do what the coordinator worker asks; False once it is gone."""
        order, descriptors, _, _ = socket.recv_fds(self._control, MAX_ORDER_BYTES, 1)
        if not order:
            return False
        match message := TO_FORK_SERVER.opened(msgpack.unpackb(order)):
            case Look():
                self._control.send(order)
            case Spawn():
                self._spawn(message, socket.socket(fileno=descriptors[0]))
            case _:
                assert_never(message)
        return True

    def _spawn(self, order: Spawn, sock: socket.socket) -> None:
        """Fork a child on the socket."""
        try:
            folder = OwnFolder()
        except OSError as error:
            _refuse(sock, error)
            return
        bounds = Bounds(*order.bounds)
        pid = os.fork()
        if pid == 0:
            self._become_child(sock, folder.path, Path(order.log_path), bounds)
        child = _Child(pid, os.pidfd_open(pid), sock, folder, Watch(bounds))
        self._children |= {child.pidfd: child, sock.fileno(): child}
        self._poll.register(child.pidfd, select.POLLIN)
        self._poll.register(sock, 0)  # no event but the end of the coordinator's side

    def _attend(self, child: _Child, descriptor: int) -> None:
        if descriptor == child.pidfd:
            self._reap(child)
        elif child.status is None:
            self._poll.unregister(child.sock)  # the coordinator left the job
            kill_session(child.pid)
        else:
            self._tell_end(child, child.status)

    def _reap(self, child: _Child) -> None:
        _, child.status = os.waitpid(child.pid, 0)
        kill_session(child.pid)
        child.folder.remove()
        self._poll.unregister(child.pidfd)
        del self._children[child.pidfd]
        os.close(child.pidfd)
        self._poll.register(child.sock, select.POLLOUT)

    def _tell_end(self, child: _Child, status: int) -> None:
        """Runs when the socket takes a frame without blocking, or has no reader."""
        try:
            Connection(child.sock).send(packed(Exited(status, child.outgrew)))
        except OSError:
            _log.debug("nobody reads how process %d ended", child.pid)
        self._poll.unregister(child.sock)
        del self._children[child.sock.fileno()]
        child.sock.close()

    def _become_child(self, sock: socket.socket, folder: Path, log_path: Path, bounds: Bounds) -> None:
        status = 1
        try:
            die_with_parent()
            os.setsid()
            _write_to(log_path)
            os.chdir(folder)
            limit_files(bounds.files)
            self._control.close()
            for other in self._children.values():
                other.sock.close()
            random.seed()
            status = self._serve(Connection(sock))
        except BaseException:  # noqa: BLE001 - whatever happens, this copy must not go on as a server
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:  # a full disk refuses even that
                os._exit(status)


def _refuse(sock: socket.socket, error: OSError) -> None:
    """Tell the job's coordinator that there is no place for its child."""
    words = f"no folder could be made for the harness child: {error}"
    with suppress(OSError), sock:
        Connection(sock).send(packed(JobFailed(FailureTold("internal", words))))


def family(pid: int) -> set[int]:
    """A child's process and all that it started, also what left its session or lost its parent."""
    return {pid, *below(pid)} | _members(pid)


def kill_session(session: int) -> None:
    """Kill every process of a session; new ones that appear meanwhile too."""
    killed: set[int] = set()
    while fresh := _members(session) - killed:
        for pid in fresh:
            _kill(pid)
        killed |= fresh


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _members(session: int) -> set[int]:
    pids = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}  # noqa: PTH208
    return {pid for pid in pids if _session_of(pid) == session}


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _write_to(log_path: Path) -> None:
    """Send stdout and stderr to the job's log."""
    log = open_log(log_path)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)
