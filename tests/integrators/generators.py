"""Programs that make clients from an OpenAPI document: pinned, in environments beside those of backends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.backends.pip import Pip
from app.errors import BackendInstallError

HERE = Path(__file__).parent
NPM_PACKAGES = ("openapi-fetch@0.17.0", "openapi-typescript@7.13.0", "typescript@5.9.3")
"""At these versions exactly; what they need themselves comes as npm finds it."""
MARKER = ".made"
NO_NETWORK = re.compile(
    r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|E40[137]|E50\d|SELF_SIGNED"
)


class NotThereError(Exception):
    """Node, or a package of npm's, cannot be had on this machine."""


@dataclass(frozen=True)
class Programs:
    """An environment with programs in it."""

    folder: Path

    def run(self, *command: str, cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """What a program says, run in a folder; an AssertionError shows what one says that fails."""
        path = f"{self.folder / 'node_modules' / '.bin'}:{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {}), "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout


def python_programs(cache_dir: Path) -> Programs:
    """`openapi-python-client`, what its clients need, and `openapi-spec-validator`; installed on first use."""
    return _made(cache_dir, HERE / "generators.txt", (), _fill)


def node_programs(cache_dir: Path) -> Programs:
    """`node`, `openapi-typescript` and `tsc`; installed on first use. NotThereError."""
    return _made(cache_dir, HERE / "node.txt", NPM_PACKAGES, _fill_with_node)


def _made(
    cache_dir: Path, pins: Path, packages: tuple[str, ...], fill: Callable[[Path, Path], None]
) -> Programs:
    """Other pins are another folder; of two that make one at once the second waits; what is half made is begun anew."""
    named = f"{pins.read_text()} {packages} {sys.version_info[:2]}"
    folder = cache_dir / "generators" / f"{pins.stem}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder, pins)
            (folder / MARKER).touch()
    return Programs(folder)


def _fill(folder: Path, pins: Path) -> None:
    pip = Pip(folder, lambda _: None)
    pip.make_environment()
    pip.run(["install", "--no-deps", "--no-compile", "-r", str(pins)])


def _fill_with_node(folder: Path, pins: Path) -> None:
    try:
        _fill(folder, pins)
    except BackendInstallError as error:
        raise NotThereError(f"no wheel with Node: {error}") from error
    quiet = ("--no-package-lock", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund")
    try:
        Programs(folder).run("npm", "install", *quiet, *NPM_PACKAGES, cwd=folder)
    except AssertionError as error:
        if NO_NETWORK.search(str(error)):
            raise NotThereError(f"npm reaches no registry: {error}") from error
        raise
