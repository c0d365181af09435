"""Environments for a machine without a package index: its own Python's packages, and a folder of wheels beside them.

Standard library only: this runs before anything is installed. Nothing of evalq is told; it finds a control plane's
Python that has what it imports, and in its cache folders that look like installed backends.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from app.backends.environments import MARKER, environment_path

ROOT = Path(__file__).parents[2]


def prepare(wheels: Path, room: Path, cache_dir: Path, vllm: Path | None = None) -> Path:
    """Make the environments below `room` and `cache_dir`; the Python that runs evalq. CalledProcessError.

    `vllm` holds the package itself, and in `w` the wheels that it needs.
    """
    site = _installed(wheels, room / "site")
    _describe_evalq(site)
    own = [Path(path) for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    _backend("hf", cache_dir, [site, *own])
    if vllm:
        _backend("vllm", cache_dir, [vllm, _installed(vllm / "w", room / "vllm"), *own])
    _environment(room / "control", [site, *own, ROOT])
    return room / "control" / "bin" / "python"


def _installed(wheels: Path, site: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
    quiet = ["--disable-pip-version-check", "--root-user-action=ignore"]
    subprocess.run([*pip, *quiet, "--target", str(site), *map(str, sorted(wheels.glob("*.whl")))], check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-j", "0", str(site)], check=False)
    return site


def _backend(name: str, cache_dir: Path, packages: list[Path]) -> None:
    folder = environment_path(name, cache_dir)
    _environment(folder, packages)
    (folder / MARKER).write_text("a stand-in\n", encoding="utf-8")


def _environment(folder: Path, packages: list[Path]) -> None:
    """A venv that sees these folders; the first one that has a module gives it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (found,) = folder.glob("lib/python*/site-packages")
    (found / "stand_in.pth").write_text("".join(f"{path}\n" for path in packages), encoding="utf-8")


def _describe_evalq(site: Path) -> None:
    """Runs from its source, and is asked for its version as an installed package is."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = site / f"evalq-{project['version']}.dist-info"
    folder.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: evalq\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
