"""Generation settings, judged alike for a job's own when it is posted and for a task's when its prompts are built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from app.arguments.kinds import MOST_SHOWN, reading, shown
from app.backends import BACKENDS, Backend
from app.backends.arguments import Wrong
from app.domain.engine_spec import EngineSpec

COUNTS = frozenset({"max_completion_tokens", "max_gen_toks", "max_new_tokens", "max_tokens"})
"""lm-eval makes whole numbers of these, of text too."""

MOST_SETTINGS = 200
MOST_FAULTS = 10


def generation_faults(
    backend: Backend | None, settings: Mapping[str, Any], *, whole: bool, own_code: bool
) -> list[Wrong]:
    """What a backend is known to say against the names and against the values together; of much only the first.

    `whole` where nothing more is merged into them; code of the model's own may take any name.
    """
    if backend is None:
        return []
    if backend.arguments.model_adds and (own_code or settings.get("custom_generate")):
        return []
    return list(islice(backend.arguments.generation_faults(settings, whole=whole), MOST_FAULTS))


def task_faults(settings: Any, engine: EngineSpec) -> list[str]:
    """Why no engine of this kind could answer under these settings, in words; a few of many."""
    if not isinstance(settings, dict):
        return [f"generation_kwargs must be an object of settings, not {shown(settings)}"]
    if len(settings) > MOST_SETTINGS:
        return [f"generation_kwargs has at most {MOST_SETTINGS} settings"]
    own_code = bool(engine.args.get("trust_remote_code"))
    backend = BACKENDS[engine.backend]
    wrong = list(_wrong_values(backend, settings)) or generation_faults(
        backend, settings, whole=True, own_code=own_code
    )
    return [f"generation_kwargs.{_label(name)} {message}" for name, message, _ in wrong[:MOST_FAULTS]]


def _label(name: str) -> str:
    return name if name.isidentifier() and len(name) < MOST_SHOWN else shown(name)


def _wrong_values(backend: Backend, settings: Mapping[str, Any]) -> Iterator[Wrong]:
    """Values of a wrong kind. YAML has types: a text in the place of a number or a switch is one."""
    for name, value in settings.items():
        kind = backend.arguments.generation_kinds.get(name)
        if kind is None or (value is None and name not in backend.arguments.never_null):
            continue
        read, message = reading(kind, value)
        if isinstance(value, str) and not isinstance(read, str) and name not in COUNTS:
            message = f"must be {kind.says}, not {shown(value)}"
        if message:
            yield Wrong(name, message)
