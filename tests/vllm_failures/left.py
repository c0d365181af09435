"""What engines leave on their host: processes, shared memory, sockets, folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psutil

from tests.faults.cluster import environment
from workers.containment.shared_memory import ROOM, inodes
from workers.supervision.janitor import REPLICA


class Left:
    """A look at the host before an engine starts, to which that after its end is compared."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        """The folder for temporary files of this run alone."""
        self._before = set(inodes())

    def by(self, replica_id: UUID) -> tuple[str, ...]:
        """What is still there of a replica, in words; segments of engines beside it are mapped by somebody."""
        lives = [f"process {process.pid} {title(process)}" for process in processes(replica_id)]
        found = inodes()
        known = self._before.union(*map(_mapped, psutil.pids()))
        still = found.keys() & inodes().keys()  # servers beside it make and drop some at any moment
        segments = [str(ROOM / found[inode]) for inode in still - known]
        return (*lives, *segments, *map(str, self._scratch.rglob("*")))


def processes(replica_id: UUID) -> list[psutil.Process]:
    """Those of a replica, whoever is their parent."""
    return [each for each in psutil.process_iter() if environment(each).get(REPLICA) == str(replica_id)]


def title(process: psutil.Process) -> str:
    """What it calls itself; empty when it has gone."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _mapped(pid: int) -> Iterator[int]:
    """Segments that a process uses, by inode."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            if f" {ROOM}/" in line:
                yield int(line.split(maxsplit=5)[4])
