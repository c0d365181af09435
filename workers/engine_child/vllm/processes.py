"""vLLM's own processes, as the kernel shows them: the engine's core, and its ranks, which are the core's children."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

from workers.containment.bounds import below

TITLE = "VLLM::"
"""How vLLM titles them."""

_INFO = struct.Struct("=QQ11Ii")
_PIDFD_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11
_EXIT = 1 << 3


@dataclass
class Process:
    """One of them, held by a descriptor: a process id that is used again is not taken for it."""

    pid: int
    descriptor: int
    name: str

    @property
    def frozen(self) -> bool:
        """Whether a signal stopped it."""
        return _stat(self.pid)[:1] == ["T"]

    def exit_code(self) -> int | None:
        """How it ended, as Python has it; None where its parent asked first: kernels before 6.15 keep nothing then."""
        stat = _stat(self.pid)
        if stat[:1] == ["Z"]:
            return os.waitstatus_to_exitcode(int(stat[-1]))
        with suppress(OSError):
            told = bytearray(_INFO.pack(_EXIT, *[0] * 13))
            ioctl(self.descriptor, _PIDFD_GET_INFO, told)
            mask, *_, status = _INFO.unpack(told)
            return os.waitstatus_to_exitcode(status) if mask & _EXIT else None
        return None


def names() -> Iterator[tuple[int, str]]:
    """Those that live now, by process id. A rank gets its whole name when it has joined the others."""
    for pid in below(os.getpid()):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if words.startswith(TITLE):
                yield pid, words.removeprefix(TITLE).partition("\0")[0].rstrip()


def hold(pid: int, name: str) -> Process:
    """OSError where it has gone."""
    return Process(pid, os.pidfd_open(pid), name)


def _stat(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on; nothing of one that has gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []
