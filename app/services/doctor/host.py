"""The host it runs on: backends, disks, and processes that should have ended."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psutil

from app.backends import BACKENDS, installed
from app.db.session import one_session
from app.db.vitals import VitalsRepository
from app.services.doctor.finding import Finding, fault, ok, warning
from app.settings import Settings

MARKS = ("EVALQ_REPLICA", "EVALQ_JOB", "EVALQ_SPARE")
"""What a worker puts into the environment of every child (see workers/supervision/janitor.py)."""

MIB, GIB = 1 << 20, 1 << 30
LITTLE_BYTES, TOO_LITTLE_BYTES = 2 * GIB, 100 * MIB
LITTLE_SHM_BYTES = 256 * MIB
SHM = Path("/dev/shm")  # noqa: S108 - looked at, not written


def look_at_host(settings: Settings) -> list[Finding]:
    """Backends and disks."""
    return [
        judge_backends(installed(settings.cache_dir)),
        *(look_at_folder(name, path) for name, path in _folders(settings).items()),
        look_at_shared_memory(SHM),
    ]


def _folders(settings: Settings) -> dict[str, Path]:
    return {"EVALQ_DATA_DIR": settings.data_dir, "EVALQ_CACHE": settings.cache_dir}


def judge_backends(found: Collection[str]) -> Finding:
    """Engines of this host; one that needs no environment is for tests."""
    real = sorted(name for name in found if BACKENDS[name].lock_file)
    if real:
        return ok("backends", f"{', '.join(real)} on this host")
    return warning(
        "backends", "none on this host", "a gpu worker here needs one: `evalq backends install hf`"
    )


def look_at_folder(check: str, path: Path) -> Finding:
    """Whether it can be written and has room; one that is not there yet is judged by where it will be."""
    there = next(place for place in (path, *path.parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return fault(check, f"{path} cannot be written", "give it to the account that runs evalq")
    return judge_room(check, str(path), shutil.disk_usage(there).free)


def judge_room(check: str, place: str, free_bytes: int) -> Finding:
    """Whether so much is enough."""
    says = f"{free_bytes / GIB:.1f} GiB free for {place}"
    advice = "make room; `evalq prune` removes old jobs, answers and logs"
    if free_bytes < TOO_LITTLE_BYTES:
        return fault(check, says, advice)
    return warning(check, says, advice) if free_bytes < LITTLE_BYTES else ok(check, says)


def look_at_shared_memory(path: Path) -> Finding:
    """Engines on several GPUs talk through it; containers often have too little."""
    if not path.exists():
        return ok("shared memory", f"no {path} on this host")
    free = shutil.disk_usage(path).free
    says = f"{free / MIB:.0f} MiB free in {path}"
    if free < LITTLE_SHM_BYTES:
        return warning("shared memory", says, "engines on several GPUs need more: shm_size, or --ipc=host")
    return ok("shared memory", says)


def look_at_processes(settings: Settings) -> list[Finding]:
    """Processes of this account that work for a replica or a job that has ended."""
    working = dict(_working())
    with one_session(settings) as session:
        ended = VitalsRepository(session).ended(set(working.values()))
    return judge_processes({pid: owner for pid, owner in working.items() if owner in ended})


def judge_processes(strays: Mapping[int, UUID]) -> list[Finding]:
    """A finding for each process that has outlived what it worked for."""
    if not strays:
        return [ok("processes", "none has outlived its replica or job")]
    advice = "the worker of this host ends it before it gives the device out; start the worker, or kill it"
    return [
        fault(f"process {pid}", f"works for {owner}, which has ended", advice)
        for pid, owner in strays.items()
    ]


def _working() -> Iterator[tuple[int, UUID]]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, ValueError):
            environment = process.environ()
            for owner in filter(None, map(environment.get, MARKS)):
                yield process.pid, UUID(owner.partition("|")[0])
