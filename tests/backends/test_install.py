from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from app.backends import (
    EnvironmentState,
    Source,
    download,
    environment_path,
    environments,
    install,
    installed,
    is_installed,
    python_of,
    remove,
)
from app.backends.install import SPARE
from app.backends.pip import why
from app.errors import BackendInstallError, BackendInUseError
from tests.backends.wheels import serving, write_wheel
from tests.waiting import until

NOWHERE = "http://127.0.0.1:9"


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
    assert len([line for line in lines if line.startswith("waiting")]) == 1
    assert installed(tmp_path)["small"] == python_of("small", tmp_path)
    subprocess.run([python_of("small", tmp_path), "-c", "import sys"], check=True)


def state(cache: Path) -> EnvironmentState:
    [found] = [environment for environment in environments(cache) if environment.backend == "small"]
    return found.state


def test_a_failed_install_ends_with_pips_words_and_leaves_nothing(lock_file: Path, tmp_path: Path) -> None:
    lock_file.write_text("./no-such-folder\n")
    with pytest.raises(BackendInstallError, match="no-such-folder"):
        install("small", tmp_path)
    assert state(tmp_path) is EnvironmentState.ABSENT


@pytest.mark.usefixtures("bare_pip")
def test_packages_come_from_the_index_that_pip_is_told_of(
    monkeypatch: pytest.MonkeyPatch, lock_file: Path, tmp_path: Path
) -> None:
    lock_file.write_text("grain==1.0\n")
    write_wheel(tmp_path / "index" / "grain", "grain")
    with serving(tmp_path / "index") as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        install("small", tmp_path)
    assert state(tmp_path) is EnvironmentState.INSTALLED


@pytest.mark.usefixtures("bare_pip")
def test_what_was_downloaded_is_installed_without_a_network(
    monkeypatch: pytest.MonkeyPatch, lock_file: Path, tmp_path: Path
) -> None:
    lock_file.write_text("grain==1.0\nchaff==1.0\n")
    write_wheel(tmp_path / "first" / "grain", "grain")
    write_wheel(tmp_path / "second" / "chaff", "chaff")
    with serving(tmp_path / "first") as first, serving(tmp_path / "second") as second:
        download("small", tmp_path / "folder", source=Source(indexes=(first, second)))
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    install("small", tmp_path, source=Source(folder=tmp_path / "folder"))
    assert state(tmp_path) is EnvironmentState.INSTALLED


@pytest.mark.usefixtures("bare_pip")
def test_a_wheel_that_is_missing_is_named(lock_file: Path, tmp_path: Path) -> None:
    lock_file.write_text("grain==1.0\n")
    with pytest.raises(BackendInstallError, match=r"^grain==1\.0 is not there for this Python"):
        install("small", tmp_path, source=Source(folder=tmp_path))
    assert state(tmp_path) is EnvironmentState.ABSENT


@pytest.mark.usefixtures("bare_pip")
def test_without_a_network_the_ways_out_are_named(
    monkeypatch: pytest.MonkeyPatch, lock_file: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "1")  # it says nothing of a first try
    lock_file.write_text("grain==1.0\n")
    with pytest.raises(BackendInstallError, match=r"^no package index could be reached: name a mirror"):
        install("small", tmp_path, source=Source(indexes=(NOWHERE,)))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "ERROR: Package 'grain' requires a different Python: 3.14.1 not in '<3.14'",
            "a package is not made for",
        ),
        (
            "ERROR: HTTP error 403 while getting\n403 Client Error: Forbidden for url",
            "the package index refused",
        ),
        ("Error: /usr/bin/python3: No module named venv", "this Python cannot make environments"),
        ("something else", "pip failed"),
    ],
)
def test_the_first_line_is_the_cause(said: str, words: str) -> None:
    assert why(said).startswith(words)
    assert why(said).endswith(said)


def test_a_full_disk_is_told_first_and_a_login_never() -> None:
    said = why(
        "Looking in indexes: https://me:secret@mirror.internal/simple\n"
        "WARNING: Max retries exceeded\n"
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    )
    assert said.startswith("the disk is full")
    assert "secret" not in said
    assert "https://mirror.internal/simple" in said


INSTALLER = """
import sys
from pathlib import Path
from app.backends import BACKENDS, Backend, Source, install
BACKENDS["small"] = Backend("small", ("small",), lock=sys.argv[1])
install("small", Path(sys.argv[2]), source=Source(indexes=(sys.argv[3],)))
"""


@pytest.mark.usefixtures("bare_pip")
def test_after_a_killed_installer_its_pip_is_waited_for_and_all_begun_anew(
    lock_file: Path, tmp_path: Path
) -> None:
    lock_file.write_text("grain==1.0\n")
    write_wheel(tmp_path / "folder", "grain")
    with socket.create_server(("127.0.0.1", 0)) as silent_index:
        silent_index.settimeout(60)
        address = f"http://127.0.0.1:{silent_index.getsockname()[1]}"
        command = [sys.executable, "-c", INSTALLER, str(lock_file), str(tmp_path), address]
        with subprocess.Popen(command) as installer:
            connection, _ = silent_index.accept()  # pip asks it, and waits
            installer.kill()
        assert state(tmp_path) is EnvironmentState.IN_WORK
    connection.close()
    until(lambda: state(tmp_path) is EnvironmentState.HALF)
    install("small", tmp_path, source=Source(folder=tmp_path / "folder"))
    assert state(tmp_path) is EnvironmentState.INSTALLED


def test_removing_deletes_what_other_pins_left_and_then_the_environment(
    environment: Path, tmp_path: Path
) -> None:
    old = tmp_path / "backends" / "small-0123456789ab"
    (old / "bin").mkdir(parents=True)
    (tmp_path / "backends" / "somebody-elses").mkdir()
    assert remove("small", tmp_path, only_of_other_pins=True) == [old]
    assert is_installed("small", tmp_path)
    assert remove("small", tmp_path) == [environment]
    assert remove("small", tmp_path) == []
    assert state(tmp_path) is EnvironmentState.ABSENT


def test_nothing_is_removed_that_a_process_runs_from(environment: Path, tmp_path: Path) -> None:
    python = python_of("small", tmp_path)
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as process:
        with pytest.raises(BackendInUseError, match=f"by process {process.pid}"):
            remove("small", tmp_path)
        process.communicate(b"\n")
    assert is_installed("small", tmp_path)
    assert remove("small", tmp_path) == [environment]


def test_an_engine_that_begins_meanwhile_keeps_its_environment(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = {"name": "python", "cmdline": [str(python_of("small", tmp_path))]}
    looks = iter([[], [SimpleNamespace(pid=7, info=info)]])
    monkeypatch.setattr(psutil, "process_iter", lambda _: next(looks))
    with pytest.raises(BackendInUseError, match="by process 7"):
        remove("small", tmp_path)
    assert is_installed("small", tmp_path)


def test_a_spare_keeps_nobody_from_removing_its_backend(environment: Path, tmp_path: Path) -> None:
    code = f"open('/proc/self/comm', 'w').write({SPARE!r}); print(flush=True); input()"
    command = [str(python_of("small", tmp_path)), "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert remove("small", tmp_path) == [environment]
        process.communicate(b"\n")


def test_a_half_built_environment_is_shown_as_such_and_removed(lock_file: Path, tmp_path: Path) -> None:
    environment_path("small", tmp_path).mkdir(parents=True)
    assert state(tmp_path) is EnvironmentState.HALF
    assert remove("small", tmp_path) == [environment_path("small", tmp_path)]


def test_echo_needs_no_environment(tmp_path: Path) -> None:
    assert is_installed("echo", tmp_path)
    install("echo", tmp_path)
    assert python_of("echo", tmp_path).exists()
    assert list(tmp_path.iterdir()) == []
