"""Bounds on what a child holds of its host, so that no job takes the host and with it every other job.

Standard library only: the shim, which runs without packages, loads this file by its path.
"""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

FASTEST_BYTES_PER_SECOND = 4 << 30
"""How fast memory may be taken: looks follow each other so that little is taken beyond a bound."""

FASTEST_PROCESSES_PER_SECOND = 4000
SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 2.0
_GIB = 1 << 30


class Bounds(NamedTuple):
    """What a child and all that descends from it may hold at most; 0 for no bound."""

    memory_bytes: int = 0
    """Resident, without files that are mapped: those the kernel takes back at need."""
    processes: int = 0
    files: int = 0
    """Open ones, of each process."""

    def passed(self, processes: int, memory_bytes: int) -> str | None:
        """In words, if they are."""
        if 0 < self.processes < processes:
            return f"had {processes} processes, more than the {self.processes} that one child may have"
        if 0 < self.memory_bytes < memory_bytes:
            held, may = memory_bytes / _GIB, self.memory_bytes / _GIB
            return f"held {held:.2f} GiB of memory, more than the {may:.2f} GiB that one child may hold"
        return None

    def pause_seconds(self, processes: int, memory_bytes: int) -> float:
        """How long nothing can be passed by much."""
        rooms = [LONGEST_SECONDS]
        if self.processes:
            rooms.append((self.processes - processes) / FASTEST_PROCESSES_PER_SECOND)
        if self.memory_bytes:
            rooms.append((self.memory_bytes - memory_bytes) / FASTEST_BYTES_PER_SECOND)
        return max(min(rooms), SHORTEST_SECONDS)


class Watch:
    """Looks after one child's bounds, as often as it takes."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self.look_at = clock() if bounds.memory_bytes or bounds.processes else float("inf")
        """The moment of the clock when the next look is due."""

    def look(self, pids: Callable[[], Iterable[int]]) -> str | None:
        """What was passed, in words, once; nothing where no look is due. `pids` tells the child's processes."""
        if self._clock() < self.look_at:
            return None
        members = set(pids())
        held = sum(map(held_bytes, members))
        if 0 < self._bounds.memory_bytes < held:
            held = sum(map(own_bytes, members))
        words = self._bounds.passed(len(members), held)
        self.look_at = (
            float("inf") if words else self._clock() + self._bounds.pause_seconds(len(members), held)
        )
        return words


def limit_files(most: int) -> None:
    """Bound the open files of this process and of those that it starts from now on; 0 changes nothing."""
    if most:
        soft, hard = (
            most if now == resource.RLIM_INFINITY else min(now, most)
            for now in resource.getrlimit(resource.RLIMIT_NOFILE)
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def held_bytes(pid: int) -> int:
    """What a process holds; pages that it shares with others as if they were its own. 0 if it has gone."""
    return sum(_sizes(f"/proc/{pid}/status", "RssAnon:", "RssShmem:"))


def own_bytes(pid: int) -> int:
    """Likewise, with its share of what it shares; slower, the more it holds."""
    sizes = list(_sizes(f"/proc/{pid}/smaps_rollup", "Pss_Anon:", "Pss_Shmem:"))
    return sum(sizes) if sizes else held_bytes(pid)


def _sizes(file: str, *names: str) -> Iterator[int]:
    with suppress(OSError):
        for line in Path(file).read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(names):
                yield int(line.split()[1]) << 10


def below(root: int) -> list[int]:
    """Every process that descends from this one, by one walk over /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children[parent_of(entry)].append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found[1:]


def parent_of(process: Path) -> int:
    """The parent's process id, 0 if the process has gone."""
    try:
        return int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0
