"""A backend that needs one small package, and pip as a machine without configuration has it."""

from __future__ import annotations

import os
import venv
from pathlib import Path

import pytest

from app.backends import BACKENDS, Backend, environment_path
from app.backends.environments import MARKER


@pytest.fixture
def lock_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The lock file of a backend named `small` that needs nothing."""
    path = tmp_path / "small.txt"
    path.write_text("# nothing\n")
    small = Backend("small", ("small",), lock=str(path), versions=("grain",))
    monkeypatch.setitem(BACKENDS, "small", small)
    return path


@pytest.fixture
def bare_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable and no file says where packages come from; pip gives up at once."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture
def environment(lock_file: Path, tmp_path: Path) -> Path:
    """The environment of `small`, installed but without pip, which takes seconds."""
    folder = environment_path("small", tmp_path)
    venv.create(folder, symlinks=True)
    (folder / MARKER).touch()
    return folder
