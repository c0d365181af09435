"""A folder for a child: an empty one to run in, so that no name a job gives is taken for a file that lies there, and
one for its temporary files."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

PREFIX = "evalq-child-"
SETTLED_SECONDS = 60.0
"""A folder this old is held by whoever made it, or by nobody."""


class OwnFolder:
    """Made in the folder for temporary files, where those that nobody holds any more go; OSError."""

    def __init__(self) -> None:
        _forget_left_ones()
        self.root = Path(mkdtemp(prefix=PREFIX)).resolve()
        self._hold: int | None = _opened(self.root)
        fcntl.flock(self._hold, fcntl.LOCK_EX)
        self.path, self.temporary = self.root / "work", self.root / "tmp"
        for folder in (self.path, self.temporary):
            folder.mkdir()

    def remove(self) -> None:
        """With all that is in it, and let go; safe to repeat."""
        if self._hold is not None:
            shutil.rmtree(self.root, ignore_errors=True)
            os.close(self._hold)
            self._hold = None


def _forget_left_ones() -> None:
    """Remove what killed processes left here."""
    for folder in Path(gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another account's, or gone meanwhile
            _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    hold = _opened(folder)
    try:
        if time.time() - os.fstat(hold).st_ctime > SETTLED_SECONDS:
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(hold)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
