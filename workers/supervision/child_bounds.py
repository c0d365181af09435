"""How much of its host a child may hold: the operator's settings, in numbers for this host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.settings import Settings
from workers.containment.bounds import Bounds


def harness_bounds(settings: Settings) -> Bounds:
    """For the harness child of one job."""
    return _bounds(settings, settings.harness_memory_share)


def engine_bounds(settings: Settings) -> Bounds:
    """For the engine child of one replica."""
    return _bounds(settings, settings.engine_memory_share)


def _bounds(settings: Settings, share: float) -> Bounds:
    return Bounds(int(share * memory_bytes()), settings.child_processes, settings.child_files)


def memory_bytes(root: Path = Path("/")) -> int:
    """What this host has, or the control groups around this process let it have, if that is less."""
    total = _number(root / "proc/meminfo", "MemTotal:") or 0
    limits = [_number(file) for file in _limits(root)]
    return min([total << 10, *(limit for limit in limits if limit)])


def _limits(root: Path) -> Iterator[Path]:
    """Where limits may stand, in versions 1 and 2: of this process's groups and of all around them."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        if controllers in {"", "memory"}:
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            place = top / group.lstrip("/")
            yield from (each / name for each in (place, *place.parents) if each.is_relative_to(top))


def _number(file: Path, name: str = "") -> int | None:
    """The number after a name; None where there is none, or `max`."""
    for line in _lines(file):
        words = line.removeprefix(name).split()
        if line.startswith(name) and words and words[0].isdecimal():
            return int(words[0])
    return None


def _lines(file: Path) -> list[str]:
    with suppress(OSError):
        return file.read_text().splitlines()
    return []
