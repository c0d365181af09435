"""The backends evalq knows, by evalq's names and by lm-eval's."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from app.backends.arguments import HF, Arguments


@dataclass(frozen=True, slots=True)
class Backend:
    """An engine backend. Without a lock file it runs in the control plane's own environment."""

    name: str
    lock_file: Path | None
    model_names: tuple[str, ...]
    arguments: Arguments | None = None
    """What it takes of a job; None for one that takes anything."""

    @property
    def packages(self) -> frozenset[str]:
        """What its environment holds."""
        return frozenset(pin.partition("==")[0] for pin in _pins(self))


_HERE = Path(__file__).parent

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("hf", _HERE / "hf.txt", ("hf", "huggingface", "hf-auto"), HF),
        Backend("echo", None, ("echo",)),
    )
}


def backend_of_model(model: str) -> Backend | None:
    """The backend behind lm-eval's `--model` name, or None where there is none."""
    return next((backend for backend in BACKENDS.values() if model in backend.model_names), None)


def backend_key(name: str) -> str:
    """Twelve hex digits that change when the backend's pins or Python's minor version change."""
    version = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256("\n".join([name, version, *_pins(BACKENDS[name])]).encode()).hexdigest()[:12]


def _pins(backend: Backend) -> list[str]:
    if backend.lock_file is None:
        return []
    lines = backend.lock_file.read_text(encoding="utf-8").splitlines()
    return sorted(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
