"""Shared memory that killed processes leave behind: segments with a name, which nobody unlinks any more.

Standard library only: the shim, which runs without packages, loads this file by its path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

ROOM = Path("/dev", "shm")


class Segments:
    """Segments that processes have mapped, by inode: a name may be given after the mapping.

    `others`: inodes that are not theirs.
    """

    def __init__(self, others: Iterable[int] = (), room: Path = ROOM) -> None:
        self._room = room.resolve()
        self._others = set(others)
        self._theirs: set[int] = set()
        self._new: set[int] = set()

    def look(self, pids: Callable[[], Iterable[int]]) -> None:
        """Note what they, who are all of them, have mapped while they live; asks for them only where one is new.

        One that none of them has mapped at two looks is not theirs.
        """
        unknown = inodes(self._room).keys() - self._others - self._theirs
        if unknown:
            self.note(pids())
            left = unknown - self._theirs
            self._others |= self._new & left
            self._new = left

    def note(self, pids: Iterable[int]) -> None:
        """Note what some of them have mapped, while they live."""
        for pid in pids:
            self._theirs.update(inode for inode in _mapped(pid, self._room) if inode not in self._others)

    def remove(self) -> None:
        """Unlink those that still have a name; only once all who had them mapped are gone."""
        for inode, name in inodes(self._room).items():
            if inode in self._theirs:
                with suppress(OSError):
                    (self._room / name).unlink()


def inodes(room: Path = ROOM) -> dict[int, str]:
    """The segments that are there, with their names."""
    with suppress(OSError), os.scandir(room) as entries:
        return {entry.inode(): entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    return {}


def _mapped(pid: int, room: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            _, _, _, _, inode, *path = line.split(maxsplit=5)
            if path and path[0].startswith(f"{room}/"):
                yield int(inode)
