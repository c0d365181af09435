"""Who holds a lease: a process of a boot of a host, so that its death can be told on that host at once."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import psutil


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    space = Path("/proc/self/ns/pid").readlink()
    return f"{socket.gethostname()}|{boot}|{space}|"


def holder_prefix() -> str:
    """What names of holders on this host, boot and process namespace begin with."""
    return _machine()


def holder_name() -> str:
    """The name of this process, chosen so that a later process with the same id is another."""
    process = psutil.Process()
    return f"{_machine()}{process.pid}|{process.create_time():.2f}"


def dead_holders(holders: Sequence[str]) -> list[str]:
    """Those of this machine's holders whose process is gone."""
    return [holder for holder in set(holders) if holder.startswith(_machine()) and not _alive(holder)]


def _alive(holder: str) -> bool:
    pid, created = holder.rsplit("|", 2)[1:]
    try:
        process = psutil.Process(int(pid))
        return f"{process.create_time():.2f}" == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
