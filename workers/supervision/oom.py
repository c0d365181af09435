"""What the kernel's out-of-memory killer did, so that a SIGKILL nobody here sent can be explained."""

from __future__ import annotations

from pathlib import Path


def oom_kills(root: Path = Path("/")) -> int:
    """How many processes it has killed: of this control group where the kernel counts so, else of all.

    Compare two readings; the number itself means nothing.
    """
    for counters in (_control_group_events(root), root / "proc/vmstat"):
        count = _counter(counters, "oom_kill")
        if count is not None:
            return count
    return 0


def _control_group_events(root: Path) -> Path:
    """The version 2 event file of this process's control group (`/` in a container's own view)."""
    group = ""
    for line in _lines(root / "proc/self/cgroup"):
        if line.startswith("0::/"):
            group = line.removeprefix("0::/")
    return root / "sys/fs/cgroup" / group / "memory.events"


def _counter(path: Path, name: str) -> int | None:
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
