"""Where the backends' environments are, and whether they are there."""

from __future__ import annotations

import sys
from pathlib import Path

from app.backends.registry import BACKENDS, backend_key

# Written last, so an environment without it is half built.
MARKER = ".installed"


def environment_path(name: str, cache_dir: Path) -> Path:
    """The folder of the backend's environment, there or not; a changed lock file is a new folder."""
    return cache_dir / "backends" / f"{name}-{backend_key(name)}"


def is_installed(name: str, cache_dir: Path) -> bool:
    """Whether `python_of` can be run."""
    if BACKENDS[name].lock_file is None:
        return True
    return (environment_path(name, cache_dir) / MARKER).is_file() and python_of(name, cache_dir).exists()


def python_of(name: str, cache_dir: Path) -> Path:
    """The interpreter that runs this backend's engine children, there or not."""
    if BACKENDS[name].lock_file is None:
        return Path(sys.executable)
    return environment_path(name, cache_dir) / "bin" / "python"


def installed(cache_dir: Path) -> dict[str, Path]:
    """The installed backends, each with its interpreter."""
    return {name: python_of(name, cache_dir) for name in BACKENDS if is_installed(name, cache_dir)}
