"""What was measured of fast scoring: a file for each measuring, below the cache, beside the backends' environments.

Hosts may share a cache: what was measured on one holds on every other whose device and versions are the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter

from app.domain.group import BackendReport
from app.domain.tolerance import Tolerance

MOST_BYTES = 16 << 10
"""A longer file is none of ours."""

MOST_FILES = 500
"""Looked at of a folder, the newest ones."""

MOST_TOLD = 16
"""Of a backend, those against fast before the newest: they stand in the row of a group."""

_TOLERANCE = TypeAdapter(Tolerance)

log = logging.getLogger(__name__)


def keep(found: Tolerance, cache_dir: Path) -> Path:
    """Store it in place of what was measured before in the same way on the same model; whole or not at all. OSError."""
    folder = folder_of(cache_dir) / found.backend
    folder.mkdir(parents=True, exist_ok=True)
    versions = sorted(found.versions.items())
    key = json.dumps([found.device, found.dtype, versions, found.runner, found.model])
    file = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    aside = file.with_suffix(f".{os.getpid()}")
    try:
        aside.write_bytes(_TOLERANCE.dump_json(found, indent=2))
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return file


def kept(backend: str, cache_dir: Path) -> list[Tolerance]:
    """All that is stored of a backend, the newest first; files that tell nothing are left out."""
    found = (_read(file) for file in _files(folder_of(cache_dir) / backend))
    return sorted(
        (each for each in found if each and each.backend == backend),
        key=lambda each: each.measured_at,
        reverse=True,
    )


def that_hold(report: BackendReport, devices: Collection[str], cache_dir: Path) -> tuple[Tolerance, ...]:
    """Those for what is installed and for devices of these names."""
    held = [
        each
        for each in kept(report.name, cache_dir)
        if any(each.fits(report.name, device, report.versions) for device in devices)
    ]
    return tuple(sorted(held, key=lambda each: each.usable)[:MOST_TOLD])


def folder_of(cache_dir: Path) -> Path:
    """Where those of all backends are."""
    return cache_dir / "tolerances"


def _files(folder: Path) -> list[Path]:
    """The newest ones."""
    with suppress(OSError):
        return [
            file for _, file in sorted(_dated(folder), key=lambda each: each[0], reverse=True)[:MOST_FILES]
        ]
    return []


def _dated(folder: Path) -> Iterator[tuple[float, Path]]:
    for file in folder.glob("*.json"):
        with suppress(OSError):
            yield file.stat().st_mtime, file


def _read(file: Path) -> Tolerance | None:
    try:
        with file.open("rb") as stream:
            told = stream.read(MOST_BYTES + 1)
        if len(told) > MOST_BYTES:
            raise ValueError("it is too long")
        return _TOLERANCE.validate_json(told)
    except (OSError, ValueError) as error:
        log.debug("%s tells no tolerance: %s", file, error)
        return None
