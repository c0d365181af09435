"""Under which name the measures of an engine are kept: that of everything its memory and its speed depend on.

How it is spread is no part of the name, nor what only says how much it may take: measures tell that of themselves. Of a
model in a folder its shape is, so that a folder that holds another one by now is not answered with what the first took;
of one on the hub its revision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.backends.backend import Backend
from app.backends.registry import BACKENDS
from app.domain.engine_spec import EngineSpec
from app.domain.model_facts import ModelFacts
from app.models.model_folder import inspect_gguf, inspect_model, is_local

_NO_SHAPE = frozenset({"path", "source", "faults", "config_names"})
_NAMED_APART = frozenset({"pretrained", "path", "revision"})


def measured_name(
    backend: Backend,
    model: str,
    args: Mapping[str, Any],
    env: Mapping[str, str],
    facts: ModelFacts | None,
) -> str | None:
    """Of an engine as a job asks for it; None for a model in a folder of which nothing is known."""
    if is_local(model) and facts is None and backend.model_files:
        return None
    parts = {
        "backend": backend.name,
        "model": model,
        "revision": args.get("revision") or "main",
        "args": {name: args[name] for name in sorted(args) if _counts(backend, name, args[name])},
        "env": dict(env),
        "shape": _shape(facts, args) if is_local(model) and facts else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def name_of_engine(engine: EngineSpec) -> str | None:
    """Of an engine that is loaded here; its folder is read, which may take a moment."""
    backend, facts = BACKENDS[engine.backend], None
    if is_local(engine.model) and backend.model_files:
        facts = facts_in_folder(engine.model, engine.args)
        if facts.faults:
            return None
    args = {**engine.args, "revision": engine.revision}
    return measured_name(backend, engine.model, args, engine.env, facts)


def facts_in_folder(model: str, args: Mapping[str, Any]) -> ModelFacts:
    """What the files of a local model say that is loaded with these arguments."""
    folder, file = Path(model) / str(args.get("subfolder") or ""), args.get("gguf_file")
    return inspect_gguf(folder / str(file)) if file else inspect_model(folder)


def _counts(backend: Backend, name: str, value: object) -> bool:
    """Whether memory may depend on it; what says nothing, and what says how much may be taken, does not count."""
    names = backend.memory
    free = {*names.lengths, names.utilization, backend.parallelism.switch, *_NAMED_APART}
    return name not in free and value not in (None, "auto", False)


def _shape(facts: ModelFacts, args: Mapping[str, Any]) -> dict[str, Any]:
    """What memory depends on; a GGUF file's dtype is the backend's, and stands in no file."""
    without = _NO_SHAPE | ({"dtype"} if args.get("gguf_file") else set())
    return {name: value for name, value in asdict(facts).items() if name not in without}
