"""Small file systems, and how to fill them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SMALL_BYTES = 256 << 20


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[bool]:
    """A folder on a file system of its own, which can be filled; False where none is asked for or may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "evalq-faults", str(folder)]
    mounted = bool(size_bytes) and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits; refuses a file system that is not a small one made for it."""
    room = os.statvfs(path.parent)
    if room.f_blocks * room.f_frsize > SMALL_BYTES:
        raise ValueError(f"{path.parent} is not a small file system")
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 12)):
            pass
