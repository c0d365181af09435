"""The values of arguments and texts: of the kind that lm-eval reads them as, or a fault each."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from app.arguments.kinds import Kind, reading, shown
from app.backends import backend_of_model
from app.backends.arguments import Arguments
from app.domain.visible import visible
from app.errors import MOST_FAULTS, FaultyField
from app.workloads.lm_eval.reading.fields import FieldReader
from app.workloads.lm_eval.reading.generation_settings import generation_faults
from app.workloads.lm_eval.reading.safety import line_fault
from app.workloads.lm_eval.spec import MOST_ARGUMENTS, LmEvalSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
NOT_TAKEN = "begins with _, as what libraries keep for themselves: no argument of lm-eval or a backend does"
FREE_TEXT = ("until",)
"""A model may be stopped at any character."""


def read_values(reader: FieldReader) -> None:
    """Every value over the user's; one that is at fault is taken out, so that nothing else stumbles over it."""
    backend = backend_of_model(reader.spec.model)
    known = backend.arguments if backend else Arguments()
    reader.put(model_args=_read(reader, "model_args", reader.spec.model_args, known.kinds))
    if (settings := reader.spec.gen_kwargs) is not None:
        kept = _read(reader, "gen_kwargs", settings, known.generation_kinds, known.never_null)
        reader.put(gen_kwargs=kept)
        _judge_generation(reader, kept)
    for path, text in _lines(reader.spec):
        if message := line_fault(text):
            reader.fault(path, message)


def _judge_generation(reader: FieldReader, settings: Mapping[str, Any]) -> None:
    """Names that the backend does not take, and what no task's own settings could mend."""
    backend, spec = backend_of_model(reader.spec.model), reader.spec
    own_code = spec.trust_remote_code or spec.model_args.get("trust_remote_code")
    told = {fault.path for fault in reader.faults}
    for wrong in generation_faults(backend, settings, whole=False, own_code=bool(own_code)):
        if (path := f"gen_kwargs.{wrong.name}") not in told:
            reader.fault(path, wrong.message, wrong.near)
    if _samples(settings):
        reader.notes.append(
            "samples follow the seed and the prompt alone: equal in every job, but drawn otherwise than the command's"
        )


def _samples(settings: Mapping[str, Any]) -> bool:
    """Whether the job samples where its tasks say nothing, as `normalize_gen_kwargs` of lm-eval reads it."""
    asked = settings.get("do_sample")
    return bool(asked) if asked is not None else (settings.get("temperature") or 0) > 0


def _read(
    reader: FieldReader,
    field: str,
    given: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    never_null: Collection[str] = (),
) -> dict[str, Any]:
    reader.refuse_unless(len(given) <= MOST_ARGUMENTS, field, f"has at most {MOST_ARGUMENTS} arguments")
    kept = {}
    for name, value in islice(given.items(), MOST_ARGUMENTS):
        if not _NAME.fullmatch(name):
            reader.fault(field, f"{shown(name)} is not the name of an argument")
            continue
        if hidden := list(islice(_hidden_names({name: value}, field), MOST_FAULTS)):
            reader.faults += [FaultyField(path, NOT_TAKEN) for path in hidden]
            continue
        kind = None if value is None and name not in never_null else kinds.get(name)
        read, wrong = reading(kind, value) if kind else (value, None)
        if kind and wrong:
            reader.fault(f"{field}.{name}", wrong, kind.allowed)
        elif name not in FREE_TEXT and not _seen(value):
            reader.fault(f"{field}.{name}", "holds control characters")
        else:
            kept[name] = read
    return kept


def _seen(value: Any) -> bool:
    """Whether everything in it is shown as it is."""
    match value:
        case str():
            return visible(value) == value
        case Mapping():
            return all(_seen(part) for pair in value.items() for part in pair)
        case list() | tuple():
            return all(map(_seen, value))
        case _:
            return True


def _hidden_names(value: Any, path: str) -> Iterator[str]:
    """Where a name begins with `_`, however deep."""
    if isinstance(value, dict):
        for name, item in value.items():
            if str(name).startswith("_"):
                yield f"{path}.{name}"
            else:
                yield from _hidden_names(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _hidden_names(item, f"{path}.{index}")


def _lines(spec: LmEvalSpec) -> Iterator[tuple[str, str]]:
    """Every text that is one line wherever it is shown."""
    lines = {
        "model": spec.model,
        "name": spec.name,
        "group": spec.group,
        "apply_chat_template": spec.apply_chat_template,
    }
    yield from ((name, text) for name, text in lines.items() if isinstance(text, str))
    yield from ((f"tags.{index}", tag) for index, tag in enumerate(spec.tags))
    yield from ((f"env.{name}", value) for name, value in spec.env.items())
