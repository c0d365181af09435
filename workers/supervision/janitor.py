"""Finds processes by the mark in their environment: the last resort where a shim itself was killed.

A process group can be left and a parent can die, but the environment a program was started with stays
readable in /proc as long as it lives. Every child and all that it starts carries its replica's or job's id; one that
was started as a spare carries its own, which the database knows of its replica, and who started it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.containment.shared_memory import Segments
from workers.supervision.identity import dead_holders

log = logging.getLogger(__name__)

REPLICA = "EVALQ_REPLICA"
JOB = "EVALQ_JOB"
SPARE = "EVALQ_SPARE"
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Mark:
    """The variable that says for whom a process works: `EVALQ_REPLICA=<id>` or `EVALQ_JOB=<id>`.

    `EVALQ_SPARE=<id>|<worker>` is of a child that was started before anybody knew for whom.
    """

    name: str
    value: str

    @property
    def owner(self) -> str:
        """The id alone."""
        return self.value.partition("|")[0]

    @property
    def is_orphaned(self) -> bool:
        """Whether it is a spare whose worker, a process of this host, is gone: used or not, nobody holds it."""
        with suppress(ValueError):  # whatever set the variable, it was not evalq
            return self.name == SPARE and bool(dead_holders([self.value.partition("|")[2]]))
        return False

    @classmethod
    def replica(cls, replica_id: object) -> Mark:
        """The mark of a replica's processes."""
        return cls(REPLICA, str(replica_id))

    @classmethod
    def job(cls, job_id: object) -> Mark:
        """The mark of a job's harness processes."""
        return cls(JOB, str(job_id))

    @classmethod
    def spare(cls, spare_id: object, worker: str) -> Mark:
        """The mark of a spare's processes; `worker` as `holder_name` has it."""
        return cls(SPARE, f"{spare_id}|{worker}")


def kill_strays(is_live: Callable[[str], bool], *, patience_seconds: float = 10.0) -> list[int]:
    """Kill own processes whose replica or job is not live, and return their ids once they are gone.

    Of spares it is asked by their own ids; one whose worker is gone is killed unasked. Shared memory that they had
    mapped goes, too. `is_live` says True also of ids it does not know: this user may run another evalq on this host,
    and a spare that waits serves nobody yet. Safe to repeat. Raises TimeoutError if one survives SIGKILL that long
    (it hangs in the kernel).
    """
    return _kill_until_gone(lambda mark: mark.is_orphaned or not is_live(mark.owner), patience_seconds)


def kill_orphans(*, patience_seconds: float = 10.0) -> list[int]:
    """Kill own spares whose worker is gone, likewise: also those that hold no device, which nobody would miss."""
    return _kill_until_gone(lambda mark: mark.is_orphaned, patience_seconds)


def kill_marked(mark: Mark, *, patience_seconds: float = 10.0) -> list[int]:
    """Kill own processes that carry this very mark, likewise."""
    return _kill_until_gone(lambda found: found == mark, patience_seconds)


def _kill_until_gone(is_stray: Callable[[Mark], bool], patience_seconds: float) -> list[int]:
    killed: dict[int, Mark] = {}
    segments = Segments()
    deadline = time.monotonic() + patience_seconds
    while strays := {pid: mark for pid in _own_pids() if (mark := _kill_if(pid, is_stray, segments))}:
        killed |= strays
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(strays)} survived SIGKILL for {patience_seconds:g} s")
        time.sleep(_POLL_SECONDS)
    segments.remove()
    for pid, mark in killed.items():
        log.warning("killed process %d left over from %s=%s", pid, mark.name, mark.owner)
    return sorted(killed)


def _own_pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def _kill_if(pid: int, is_stray: Callable[[Mark], bool], segments: Segments) -> Mark | None:
    """Kill the process if it is a stray. The descriptor pins it: a process id used again is never hit."""
    try:
        pinned = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        mark = _mark_of(pid)
        if mark is None or not is_stray(mark):
            return None
        segments.note([pid])
        signal.pidfd_send_signal(pinned, signal.SIGKILL)
    except OSError:
        return None
    finally:
        os.close(pinned)
    return mark


def _mark_of(pid: int) -> Mark | None:
    """The mark of a process of this user; None for others, and for a zombie, whose memory is gone."""
    process = Path("/proc", str(pid))
    if process.stat().st_uid != os.geteuid():
        return None
    for entry in (process / "environ").read_bytes().split(b"\0"):
        name, _, value = entry.decode(errors="replace").partition("=")
        if name in {REPLICA, JOB, SPARE}:
            return Mark(name, value)
    return None
