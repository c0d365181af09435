from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.backends import BACKENDS, Backend, environment_path, install, installed, is_installed, python_of
from app.errors import BackendInstallError


@pytest.fixture
def lock_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The lock file of a backend named `small` that needs nothing."""
    path = tmp_path / "small.txt"
    path.write_text("# nothing\n")
    monkeypatch.setitem(BACKENDS, "small", Backend("small", ("small",), lock=str(path)))
    return path


def test_two_installers_at_once_build_anew_what_an_interrupted_one_left(
    lock_file: Path, tmp_path: Path
) -> None:
    left = environment_path("small", tmp_path) / "bin" / "python"
    left.parent.mkdir(parents=True)
    left.touch()
    assert not is_installed("small", tmp_path)
    lines: list[str] = []
    with ThreadPoolExecutor() as pool:
        folders = set(pool.map(lambda _: install("small", tmp_path, lines.append), range(2)))
    assert folders == {environment_path("small", tmp_path)}
    assert len([line for line in lines if line.startswith("making")]) == 1
    assert installed(tmp_path)["small"] == python_of("small", tmp_path)
    subprocess.run([python_of("small", tmp_path), "-c", "import sys"], check=True)


def test_a_failed_install_ends_with_pips_words_and_is_not_there(lock_file: Path, tmp_path: Path) -> None:
    lock_file.write_text("./no-such-folder\n")
    with pytest.raises(BackendInstallError, match="no-such-folder"):
        install("small", tmp_path)
    assert not is_installed("small", tmp_path)


def test_echo_needs_no_environment(tmp_path: Path) -> None:
    assert is_installed("echo", tmp_path)
    install("echo", tmp_path)
    assert python_of("echo", tmp_path).exists()
    assert list(tmp_path.iterdir()) == []
