"""Where the backends' environments are, and whether they are there."""

from __future__ import annotations

import fcntl
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.backends.registry import BACKENDS, backend_key

# Written last, so an environment without it is half built.
MARKER = ".installed"


class EnvironmentState(StrEnum):
    """What a folder of a backend is."""

    INSTALLED = "installed"
    ABSENT = "not installed"
    IN_WORK = "in work"
    """Somebody builds or removes it now."""
    HALF = "half built"
    """Whoever built or removed it was interrupted: the next install begins anew."""
    OLD = "of other pins"
    """Made by another version of evalq or of Python; nothing here runs it."""


@dataclass(frozen=True)
class BackendEnvironment:
    """A folder that a backend has, or would have."""

    backend: str
    path: Path
    state: EnvironmentState


def environment_path(name: str, cache_dir: Path) -> Path:
    """The folder of the backend's environment, there or not; a changed lock file is a new folder."""
    return cache_dir / "backends" / f"{name}-{backend_key(name)}"


def lock_path(environment: Path) -> Path:
    """The file whose lock is held by whoever builds or removes the environment."""
    return environment.with_name(f"{environment.name}.lock")


def is_installed(name: str, cache_dir: Path) -> bool:
    """Whether `python_of` can be run, and an engine in it."""
    if BACKENDS[name].planned_only:
        return False
    if BACKENDS[name].lock_file is None:
        return True
    return (environment_path(name, cache_dir) / MARKER).is_file() and python_of(name, cache_dir).exists()


def python_of(name: str, cache_dir: Path) -> Path:
    """The interpreter that runs this backend's engine children, there or not."""
    if BACKENDS[name].lock_file is None:
        return Path(sys.executable)
    return environment_path(name, cache_dir) / "bin" / "python"


def installed_at(environment: Path) -> int:
    """When it was made, so that one made in its place is told from it; 0 where there is none."""
    with suppress(OSError):
        return (environment / MARKER).stat().st_mtime_ns
    return 0


def installed(cache_dir: Path) -> dict[str, Path]:
    """The installed backends, each with its interpreter."""
    return {name: python_of(name, cache_dir) for name in BACKENDS if is_installed(name, cache_dir)}


def environments(cache_dir: Path) -> list[BackendEnvironment]:
    """Those of every backend that needs one, there or not; then those of other pins that were left behind."""
    own = [
        BackendEnvironment(name, path, _state(name, path, cache_dir))
        for name, backend in BACKENDS.items()
        if backend.lock_file
        for path in [environment_path(name, cache_dir)]
    ]
    return own + _of_other_pins(cache_dir, {environment.path for environment in own})


def _state(name: str, path: Path, cache_dir: Path) -> EnvironmentState:
    if is_installed(name, cache_dir):
        return EnvironmentState.INSTALLED
    if _is_locked(path):
        return EnvironmentState.IN_WORK
    return EnvironmentState.HALF if path.exists() else EnvironmentState.ABSENT


def _is_locked(environment: Path) -> bool:
    try:
        with lock_path(environment).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _of_other_pins(cache_dir: Path, current: set[Path]) -> list[BackendEnvironment]:
    folder = cache_dir / "backends"
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    named = ((re.fullmatch(r"(.+)-[0-9a-f]{12}", path.name), path) for path in found if path not in current)
    return [
        BackendEnvironment(match[1], path, EnvironmentState.OLD)
        for match, path in named
        if match and match[1] in BACKENDS
    ]
