"""The fields of a job that need nothing else to be judged: the shapes that texts stand for, bounds, and choices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.arguments.kinds import shown
from app.arguments.syntax import GivenArguments, parse_gen_kwargs, parse_model_args, parse_names
from app.backends.known_arguments import BATCH_SIZE
from app.domain.storable import unstorable
from app.errors import FaultyField
from app.models.stated_size import stated_parameters
from app.settings import Settings
from app.workloads.lm_eval.command.flag_values import read_chat_template
from app.workloads.lm_eval.spec import (
    FIELDS,
    MOST_INSTRUCTION,
    MOST_SEEDS_TEXT,
    MOST_STRING,
    MOST_TASKS_TEXT,
    LmEvalSpec,
    Within,
    about,
)

SWITCHED_OFF = "the operator has not switched this on (EVALQ_ALLOW_UNSAFE_CODE)"
_NUMPY_SEEDS = range(2**32)
_MISNAMES = "gives documents the numbers of others where the list is in another order"


@dataclass
class FieldReader:
    """The spec as it is read so far, with what was found wrong and what is worth saying."""

    spec: LmEvalSpec = field(default_factory=LmEvalSpec)
    faults: list[FaultyField] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paths: int = 0
    """How many were looked up."""
    unsure: frozenset[str] = frozenset()
    """Fields that a fault tells of already, so that nothing is said of what follows from it."""

    def put(self, **values: Any) -> None:
        """Go on with other values of some fields."""
        self.spec = replace(self.spec, **values)

    def fault(self, path: str, message: str, allowed: tuple[str, ...] | None = None) -> None:
        """Something is wrong with a field."""
        if path.partition(".")[0] not in self.unsure:
            self.faults.append(FaultyField(path, message, allowed))

    def lack(self, path: str, message: str, lacks: str, allowed: tuple[str, ...] | None = None) -> None:
        """Something is wrong with a field as long as the cluster has not what it `lacks`."""
        if path.partition(".")[0] not in self.unsure:
            self.faults.append(FaultyField(path, message, allowed, lacks))

    def refuse_unless(self, holds: bool, path: str, message: str) -> None:
        """A fault where something does not hold."""
        if not holds:
            self.fault(path, message)


def read_fields(
    given: Mapping[str, Any],
    settings: Settings,
    notes: Sequence[str] = (),
    unsure: frozenset[str] = frozenset(),
) -> FieldReader:
    """Everything that was given over the defaults, in the shapes the spec is stored in."""
    reader = FieldReader(notes=list(notes), unsure=unsure)
    for name in given:
        reader.refuse_unless(name in FIELDS, name, "there is no such field")
    if "batch_size" not in given:
        reader.notes.append("batch_size is auto, since none was given (lm_eval would take 1)")
    values = _in_shape({name: given[name] for name in FIELDS if name in given}, reader)
    reader.put(**values)
    _judge_samples(reader)
    _judge_bounds(reader)
    _judge_choices(reader)
    _judge_permissions(reader, settings)
    return reader


def _in_shape(given: Mapping[str, Any], reader: FieldReader) -> dict[str, Any]:
    """What texts stand for; what no row holds, or what cannot be read, is left out with a fault."""
    values = {}
    for name, value in given.items():
        parse = _ARGUMENTS.get(name)
        parsed = _parsed(value, name, parse, reader) if parse and isinstance(value, str) else value
        if faults := list(unstorable(parsed, name)):
            reader.faults += faults
            if not isinstance(parsed, dict):
                continue
            parsed = {key: item for key, item in parsed.items() if not any(unstorable({key: item}, ""))}
        try:
            values[name] = _READERS[name](parsed, reader) if name in _READERS else parsed
        except ValueError as error:
            reader.fault(name, str(error))
    return values


def _parsed(
    text: str, name: str, parse: Callable[[str, str], GivenArguments], reader: FieldReader
) -> dict[str, Any]:
    if len(text) > MOST_STRING:
        reader.fault(name, f"has at most {MOST_STRING} characters as text: send an object")
        return {}
    parsed = parse(text, name)
    reader.faults += parsed.faults
    reader.notes += parsed.notes
    return dict(parsed.values)


def _tasks(given: Any, _: FieldReader) -> Any:
    if not isinstance(given, str):
        return given
    if len(given) > MOST_TASKS_TEXT:
        raise ValueError(f"has at most {MOST_TASKS_TEXT} characters as text: groups hold many")
    return parse_names(given)


def _batch_size(given: Any, _: FieldReader) -> Any:
    if isinstance(given, str) and re.fullmatch(r"[0-9]{1,9}", given):
        return int(given)
    if isinstance(given, str) and BATCH_SIZE.fullmatch(given) is None:
        raise ValueError(f"{shown(given)} is not a number, auto or auto:N")
    return given


def _instruction(given: Any, _: FieldReader) -> Any:
    if given and len(given) > MOST_INSTRUCTION:
        raise ValueError(f"has at most {MOST_INSTRUCTION} characters")
    return given


def _seed(given: Any, reader: FieldReader) -> list[int | None]:
    """One seed for all, or python, numpy, torch and, unless lm-eval's own will do, few-shot; `None` leaves one."""
    if isinstance(given, str) and len(given) > MOST_SEEDS_TEXT:
        raise ValueError(f"has at most {MOST_SEEDS_TEXT} characters as text")
    try:
        seeds = _seeds(given)
    except ValueError:
        message = f"{shown(given)} is not one seed, or three or four with commas between"
        raise ValueError(message) from None
    default = LmEvalSpec.seed
    if len(seeds) == 1:
        seeds *= len(default)
    if len(seeds) == len(default) - 1:
        seeds.append(default[-1])
    if len(seeds) != len(default):
        raise ValueError("needs one seed, or three or four: python, numpy, torch, few-shot")
    if seeds[1] is not None and seeds[1] not in _NUMPY_SEEDS:
        raise ValueError("numpy's seed must be from 0 to 4294967295")
    reader.faults += unstorable(seeds, "seed")
    return seeds


def _seeds(given: Any) -> list[int | None]:
    if isinstance(given, str):
        return [None if part.strip().lower() == "none" else int(part) for part in given.split(",")]
    return list(given) if isinstance(given, list) else [given]


def _size(given: Any, _: FieldReader) -> Any:
    if isinstance(given, str):
        stated_parameters(given)
    return given


def _template(given: Any, reader: FieldReader) -> Any:
    chosen = read_chat_template(given) if isinstance(given, str) else given
    if isinstance(chosen, str):
        reader.notes.append(
            f"prompts are written with the chat template called {shown(chosen)}; lm_eval 0.4.13 would name it in"
            " its report and write them with the default one"
        )
    return chosen


_ARGUMENTS: Mapping[str, Callable[[str, str], GivenArguments]] = {
    "model_args": parse_model_args,
    "gen_kwargs": parse_gen_kwargs,
    "metadata": parse_model_args,
}
_READERS: Mapping[str, Callable[[Any, FieldReader], Any]] = {
    "tasks": _tasks,
    "batch_size": _batch_size,
    "gen_kwargs": lambda given, _: given or None,
    "apply_chat_template": _template,
    "system_instruction": _instruction,
    "seed": _seed,
    "model_size": _size,
}
"""What a text stands for; ValueError says why for none."""


def _judge_bounds(reader: FieldReader) -> None:
    """A number out of its bounds gives way to the default, so that nothing reckons with it."""
    for name in FIELDS:
        bound, value = about(name).number, getattr(reader.spec, name)
        if bound and isinstance(value, int | float) and value not in bound:
            reader.fault(name, _BOUNDS.get(name) or _says(bound))
            reader.put(**{name: getattr(LmEvalSpec, name)})


_BOUNDS = {"limit": "must be above 0: documents, or a share below 1"}


def _says(bound: Within) -> str:
    if bound.above:
        return f"must be above {bound.least} and at most {bound.most}"
    return f"must be from {bound.least} to {bound.most}"


def _judge_samples(reader: FieldReader) -> None:
    samples = reader.spec.samples
    if samples is None:
        return
    alone = reader.spec.limit is None or not samples
    reader.refuse_unless(alone, "samples", "limit and samples exclude each other")
    if not isinstance(samples, Mapping) or not samples:
        reader.fault("samples", "must be an object of task names with lists of document indices")
        reader.put(samples=None)
        return
    risen: dict[str, list[int]] = {}
    for task, indices in samples.items():
        if not _are_documents(indices):
            reader.fault(f"samples.{task}", "must be a list of document indices")
        elif (rising := sorted(set(indices))) != indices:
            risen[task] = rising
            reader.notes.append(f"samples.{task} in rising order, each once: lm_eval 0.4.13 {_MISNAMES}")
    reader.put(samples={**samples, **risen})


def _are_documents(indices: Any) -> bool:
    """Whether it is a list of document indices, at least one."""
    return isinstance(indices, list) and indices != [] and all(type(at) is int and at >= 0 for at in indices)


def _judge_choices(reader: FieldReader) -> None:
    spec = reader.spec
    turns = not spec.fewshot_as_multiturn or bool(spec.apply_chat_template)
    reader.refuse_unless(turns, "fewshot_as_multiturn", "needs apply_chat_template")
    keeps = spec.log_samples or not spec.predict_only
    reader.refuse_unless(
        keeps, "log_samples", "predict_only leaves nothing but samples: log_samples must stay on"
    )


def _judge_permissions(reader: FieldReader, settings: Settings) -> None:
    spec = reader.spec
    for name in sorted(spec.env.keys() - set(settings.env_allowed)):
        reader.fault(f"env.{name}", "this name is not on the operator's allow-list", settings.env_allowed)
    if spec.callback_url is not None:
        reader.fault("callback_url", "this version sends no webhooks yet: watch the job's events instead")
    asked = {
        "confirm_run_unsafe_code": spec.confirm_run_unsafe_code,
        "trust_remote_code": spec.trust_remote_code,
    }
    for name, wanted in asked.items():
        reader.refuse_unless(settings.allow_unsafe_code or not wanted, name, SWITCHED_OFF)
