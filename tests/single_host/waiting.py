"""Waiting for processes, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import psutil

BOUND_SECONDS = 30.0


def eventually(true: Callable[[], bool], within_seconds: float = BOUND_SECONDS) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + within_seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; one that nobody has asked about yet has, too."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(processes: Sequence[psutil.Process]) -> bool:
    """Whether all of them end in time."""
    return eventually(lambda: all(gone(process) for process in processes))
