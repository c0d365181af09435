"""Whether a backend's environment works: looked at from inside, bounded in time, and remembered while it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.backends.backend import Backend
from app.backends.environments import environment_path, installed_at, python_of
from app.backends.registry import BACKENDS
from app.domain.group import BackendReport

PATIENCE_SECONDS = 180
"""Imports take seconds; on a cold network folder minutes."""

PROBE = Path(__file__).with_name("probe.py")

REMEMBERED = ".health"


@dataclass(frozen=True)
class _Seen:
    installed_at: int
    """The marker's time: what was seen holds for this installation alone."""
    size_bytes: int
    versions: dict[str, str]
    problem: str | None
    no_gpu: str | None = None
    """Why no GPU is to be had in it; None where one is."""

    def trouble(self, kind: str | None, backend: Backend) -> str | None:
        """On devices of a kind, or where None is asked for on any of its own."""
        needs_gpu = kind == "cuda" or (kind is None and "cpu" not in backend.devices)
        return self.problem or (self.no_gpu if needs_gpu else None)


def look_at(name: str, cache_dir: Path, kind: str | None = None) -> BackendReport:
    """What is installed as this backend, and what keeps engines off devices of a kind (None: off any of its own).

    Takes seconds, at most `PATIENCE_SECONDS`, where it is not known yet that all is well. Safe to run several at once.
    """
    backend = BACKENDS[name]
    if backend.lock_file is None:
        return BackendReport(name)
    environment = environment_path(name, cache_dir)
    seen = _remembered(environment)
    if seen is None or seen.trouble(kind, backend):
        size = seen.size_bytes if seen else size_of(environment)
        seen = _looked_at(backend, environment, python_of(name, cache_dir), size)
        if seen.problem is None:
            _remember(environment, seen)
    return BackendReport(name, seen.versions, seen.size_bytes, seen.trouble(kind, backend))


def _looked_at(backend: Backend, environment: Path, python: Path, size_bytes: int) -> _Seen:
    since = installed_at(environment)
    answer = _ask(backend, python)
    return _Seen(
        installed_at=since,
        size_bytes=size_bytes,
        versions=answer.get("versions", {}),
        problem=answer["problem"],
        no_gpu=answer.get("no_gpu"),
    )


def _ask(backend: Backend, python: Path) -> dict[str, Any]:
    words = [str(PATIENCE_SECONDS), ",".join(backend.versions), ",".join(backend.imports)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVALQ_")}
    try:
        done = subprocess.run(
            [str(python), "-E", "-P", "-s", str(PROBE), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_SECONDS + 10,
            env=env,
            check=False,
        )
    except OSError as error:
        return {"problem": f"its Python cannot be started: {error.strerror}"}
    except subprocess.TimeoutExpired:
        return {"problem": _ended(-signal.SIGALRM)}
    return _answer(done)


def _answer(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    for line in reversed(done.stdout.splitlines() if done.returncode == 0 else []):
        with suppress(ValueError):  # some packages have a last word at exit
            found = json.loads(line)
            if isinstance(found, dict) and "no_gpu" in found:
                return found
    said = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    return {"problem": f"{_ended(done.returncode)}: {said[:300]}"}


def _ended(status: int) -> str:
    if status == -signal.SIGALRM:
        return f"importing it takes longer than {PATIENCE_SECONDS} s"
    if status < 0:
        return f"importing it ended with signal {-status} ({signal.Signals(-status).name})"
    return f"importing it ended with exit code {status}"


def size_of(folder: Path) -> int:
    """The bytes that a folder takes on its disk; files that vanish meanwhile count as none."""
    total, seen = 0, set()
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found = os.lstat(f"{place}/{name}")
                if found.st_ino not in seen:
                    total += found.st_blocks * 512
                if found.st_nlink > 1:
                    seen.add(found.st_ino)
    return total


def _remembered(environment: Path) -> _Seen | None:
    with suppress(OSError, ValueError, TypeError):
        seen = _Seen(**json.loads((environment / REMEMBERED).read_bytes()))
        if seen.installed_at == installed_at(environment):
            return seen
    return None


def _remember(environment: Path, seen: _Seen) -> None:
    aside = environment / f"{REMEMBERED}.{os.getpid()}"
    with suppress(OSError):  # an image's folder may not be written: it is looked at again then
        aside.write_text(json.dumps(asdict(seen)), encoding="utf-8")
        aside.replace(environment / REMEMBERED)
