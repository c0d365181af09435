"""Child processes that end with us, however we end."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PR_SET_PDEATHSIG = 1
LOG_LIMIT_BYTES = 16 * 1024 * 1024
LOOK_BYTES = 1 << 16
"""Where the last line is looked for: one with a traceback is long as JSON."""

Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Account:
    """Whom a child runs as."""

    uid: int
    gid: int


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    if_orphaned: signal.Signals = signal.SIGKILL,
) -> Process:
    """Start a child in its own session with its output in `log`; the kernel signals it when we die.

    Call it from the main thread: the kernel watches the thread that forked, not the process.
    """
    with _opened(log) as output:
        return subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Only prctl and getppid run between fork and exec; the signal is lost if set before the account.
            preexec_fn=tied_to_parent(if_orphaned),  # noqa: PLW1509
            **run_as(account),
        )


def run_as(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess` that make a child run as `account`, which may not see our folder."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "cwd": "/"}


def last_line(log: Path, word: str = "") -> str:
    """The last line with this word in it, else with anything in it; empty where there is none.

    Of a record that was written as JSON its last words: of its traceback, if it has one.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOOK_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    lines = [line.strip() for line in lines if line.strip()]
    return _words(next(reversed([line for line in lines if word in line] or lines), ""))


def _words(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line
    match record:
        case {"error": str(said)} | {"message": str(said)}:
            return said.strip().rpartition("\n")[2].strip()
    return line


def tied_to_parent(number: signal.Signals) -> Callable[[], None]:
    """What a child of this process does first: then the kernel signals it when the thread that forked it ends."""
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return tie


def _opened(log: Path) -> IO[bytes]:
    """Open for appending; a log that has grown large becomes `.1` first."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("ab")
