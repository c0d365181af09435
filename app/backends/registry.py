"""The backends evalq knows: every module beside this one that has a `BACKEND`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from app.backends.backend import FOLDER, Backend
from app.backends.parallelism import NO_NAMES, ArgumentNames, Parallelism, read_arguments
from app.settings import Settings

BACKENDS: dict[str, Backend] = {}


def backend_of_model(model: str) -> Backend | None:
    """The backend behind lm-eval's `--model` name, or None where there is none."""
    return next((backend for backend in BACKENDS.values() if model in backend.model_names), None)


def known_model_names(settings: Settings) -> tuple[str, ...]:
    """lm-eval's `--model` names that this installation can run."""
    allowed = (each for each in BACKENDS.values() if each.allowed(settings) and not each.planned_only)
    return tuple(name for backend in allowed for name in backend.model_names)


def argument_names(model: str) -> ArgumentNames:
    """What the engine behind lm-eval's `--model` name calls its parallelism; no names for an unknown one."""
    backend = backend_of_model(model)
    return backend.parallelism if backend else NO_NAMES


def read_parallelism(model: str, model_args: Mapping[str, Any]) -> Parallelism:
    """Take the parallelism out of a model's arguments; names of other engines are refused."""
    others = [backend.parallelism for backend in BACKENDS.values()]
    return read_arguments(model, argument_names(model), others, model_args)


def backend_key(name: str) -> str:
    """Twelve hex digits that change when the backend's pins or Python's minor version change."""
    version = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256("\n".join([name, version, *BACKENDS[name].pins]).encode()).hexdigest()[:12]


def discover() -> None:
    """Fill `BACKENDS` from the folder: with an environment of their own first, without engine last. Safe to repeat."""
    modules = [import_module(f"{__package__}.{module.name}") for module in iter_modules([str(FOLDER)])]
    found: list[Backend] = [module.BACKEND for module in modules if hasattr(module, "BACKEND")]
    found.sort(key=lambda backend: (backend.planned_only, backend.lock is None, backend.name))
    BACKENDS.update({backend.name: backend for backend in found})
