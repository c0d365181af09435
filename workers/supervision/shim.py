"""The shim around every child: nothing of the child's process tree outlives its supervisor.

A script on the standard library alone: `python -I -S shim.py CONTROL_FD FRAME_FD GRACE_SECONDS FOLDER BOUNDS
COMMAND...`.
It is the subreaper of all that descends from COMMAND, so even a process that calls setsid stays within reach.

CONTROL_FD is a SOCK_SEQPACKET socket to the supervisor, one message each way per fact:
orders `stop SECONDS` (TERM, that long a grace, then KILL) and `until MONOTONIC` (KILL at that moment of the
system-wide monotonic clock unless a later one is named: a frozen supervisor cannot overstay its lease);
reports `started PID`, `ended STATUS` (a signal is negative), `failed WORDS`, and `outgrew WORDS` before it kills a
command that passed its bounds. End of the stream from the
supervisor is `stop GRACE_SECONDS`; end of the stream from the shim means that no descendant is left.
FRAME_FD is the command's own socket, closed here so that its end of stream follows the command's death.
FOLDER goes with the last of its descendants, and so does the shared memory that they had mapped. The command runs
where the shim was started. BOUNDS are the numbers of `workers/containment/bounds.py`, with commas between.
"""

from __future__ import annotations

import ctypes
import math
import os
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.containment.bounds import Watch
    from workers.containment.shared_memory import Segments

CONTAINMENT = Path(__file__).resolve().parents[1] / "containment"
BOUNDS: dict[str, Any] = run_path(str(CONTAINMENT / "bounds.py"))
SHARED_MEMORY: dict[str, Any] = run_path(str(CONTAINMENT / "shared_memory.py"))
PR_SET_CHILD_SUBREAPER = 36
KILL_INTERVAL_SECONDS = 0.02
LOOK_SECONDS = 1.0
"""How often is noted what has shared memory mapped; once it is killed, nobody can tell."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Shim:
    """One command, its descendants, and the orders that end them."""

    def __init__(
        self, control: socket.socket, grace_seconds: float, watch: Watch, segments: Segments
    ) -> None:
        self._control = control
        self._watch = watch
        self._segments = segments
        self._look_at = 0.0
        self._grace_seconds = grace_seconds
        self._wakeup = wakeup_fd()
        self._main = 0
        self._kill_at = math.inf
        self._fence_at = math.inf
        self._poll = select.poll()

    def run(self, command: list[str], frame_fd: int) -> None:
        """Start the command and return when none of its descendants is left."""
        if not self._start(command, frame_fd):
            return
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._wakeup, select.POLLIN)
        while self._reap():
            self._listen()
            self._look()
            if words := self._watch.look(descendants):
                self._report(f"outgrew {words}")
                self._kill_at = 0.0
            if time.monotonic() >= min(self._kill_at, self._fence_at):
                self._kill()
        self._segments.remove()

    def _look(self) -> None:
        if time.monotonic() >= self._look_at:
            self._segments.look(descendants)
            self._look_at = time.monotonic() + LOOK_SECONDS

    def _kill(self) -> None:
        """First the command's group, at one blow: what forks for ever would outrun a walk from one to the next."""
        self._segments.look(descendants)
        if self._main:
            with suppress(ProcessLookupError):
                os.killpg(self._main, signal.SIGKILL)
        kill(descendants())

    def _start(self, command: list[str], frame_fd: int) -> bool:
        try:
            self._main = spawn(command)
        except OSError as error:
            self._report(f"failed {error}")
            return False
        os.close(frame_fd)
        self._report(f"started {self._main}")
        return True

    def _report(self, words: str) -> None:
        try:
            self._control.send(words.encode())
        except OSError:  # the supervisor is gone: its end of stream is the next thing read
            return

    def _reap(self) -> bool:
        """Collect what has ended; False when nothing is left. Without its command the rest is killed."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._main:
                self._main = 0
                self._kill_at = 0.0
                self._report(f"ended {os.waitstatus_to_exitcode(status)}")

    def _listen(self) -> None:
        for fd, _ in self._poll.poll(self._patience_ms()):
            if fd == self._wakeup:
                if any(number in STOP_SIGNALS for number in os.read(fd, 512)):
                    self._stop(self._grace_seconds)
            else:
                self._obey(receive(self._control))

    def _patience_ms(self) -> float:
        deadline = min(self._kill_at, self._fence_at, self._watch.look_at, self._look_at)
        return 1000 * max(deadline - time.monotonic(), KILL_INTERVAL_SECONDS)

    def _obey(self, order: str) -> None:
        match order.split():
            case ["stop", seconds]:
                self._stop(float(seconds))
            case ["until", moment]:
                self._fence_at = float(moment)
            case _:
                self._poll.unregister(self._control)
                self._stop(self._grace_seconds)

    def _stop(self, grace_seconds: float) -> None:
        if self._main and self._kill_at == math.inf:
            self._segments.look(descendants)
            os.killpg(self._main, signal.SIGTERM)
        self._kill_at = min(self._kill_at, time.monotonic() + grace_seconds)


def become_subreaper() -> None:
    """Make this process the parent of every orphan below it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


def wakeup_fd() -> int:
    """A descriptor that reads the number of every signal this process handles."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *STOP_SIGNALS):
        signal.signal(number, lambda *_: None)
    return reader


def spawn(command: list[str]) -> int:
    """Start the command in a process group of its own, with signals as a fresh program expects them."""
    return os.posix_spawnp(
        command[0],
        command,
        os.environ,
        setpgroup=0,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
    )


def receive(control: socket.socket) -> str:
    """The next order; empty at the end of the stream."""
    try:
        return control.recv(256).decode()
    except ConnectionResetError:
        return ""


def descendants() -> list[int]:
    """Every process below this one."""
    found: list[int] = BOUNDS["below"](os.getpid())
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL each of the processes that still exists."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> None:
    """Run the command named on the command line under the shim."""
    control_fd, frame_fd, grace_seconds, folder, numbers, *command = sys.argv[1:]
    os.set_inheritable(int(control_fd), False)
    become_subreaper()
    bounds = BOUNDS["Bounds"](*map(int, numbers.split(",")))
    BOUNDS["limit_files"](bounds.files)
    control = socket.socket(fileno=int(control_fd))
    segments = SHARED_MEMORY["Segments"](others=SHARED_MEMORY["inodes"]())
    Shim(control, float(grace_seconds), BOUNDS["Watch"](bounds), segments).run(command, int(frame_fd))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
