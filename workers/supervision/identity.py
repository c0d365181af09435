"""Who holds a lease: a process of a boot of a host, so that its death can be told on that host at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    space = Path("/proc/self/ns/pid").readlink()
    return f"{socket.gethostname()}|{boot}|{space}|"


def holder_prefix() -> str:
    """What names of holders on this host, boot and process namespace begin with."""
    return _machine()


def holder_name() -> str:
    """The name of this process, chosen so that a later process with the same id is another."""
    pid = os.getpid()
    return f"{_machine()}{pid}|{_started(pid)}"


def dead_holders(holders: Sequence[str]) -> list[str]:
    """Those of this machine's holders whose process is gone."""
    return [holder for holder in set(holders) if holder.startswith(_machine()) and not _alive(holder)]


def _alive(holder: str) -> bool:
    pid, started = holder.rsplit("|", 2)[1:]
    return _started(int(pid)) == started


def _started(pid: int) -> str | None:
    """When it was started, in clock ticks since boot: a time of day would move whenever the clock is set.

    None for a process that has ended, a zombie too.
    """
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else rest[18]
