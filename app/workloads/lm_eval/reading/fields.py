"""The fields of a job that need nothing else to be judged: their types, their bounds, their defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.arguments.kinds import shown
from app.arguments.syntax import Arguments, parse_gen_kwargs, parse_model_args, parse_names
from app.backends.known_arguments import BATCH_SIZE, MOST_BATCH
from app.domain.storable import unstorable
from app.errors import FaultyField
from app.settings import Settings
from app.workloads.lm_eval.command.flag_values import read_chat_template

DEFAULTS: Mapping[str, Any] = {
    "model": None,
    "model_args": {},
    "tasks": [],
    "num_fewshot": None,
    "batch_size": "auto",
    "max_batch_size": None,
    "limit": None,
    "samples": None,
    "gen_kwargs": None,
    "apply_chat_template": False,
    "system_instruction": None,
    "fewshot_as_multiturn": None,
    "log_samples": True,
    "seed": [0, 1234, 1234, 1234],
    "predict_only": False,
    "confirm_run_unsafe_code": False,
    "trust_remote_code": False,
    "metadata": None,
    "bootstrap_iters": 100_000,
    "name": None,
    "priority": 50,
    "tags": [],
    "deadline_seconds": None,
    "group": None,
    "replicas": "auto",
    "gpus_per_replica": "auto",
    "reuse_responses": True,
    "env": {},
    "callback_url": None,
}
"""Every field of a stored spec, with what lm-eval or evalq takes where the user says nothing."""

BOUNDS: Mapping[str, tuple[int, int]] = {
    "num_fewshot": (0, 10_000),
    "batch_size": (1, MOST_BATCH),
    "max_batch_size": (1, MOST_BATCH),
    "bootstrap_iters": (0, 10_000_000),
    "replicas": (1, 10_000),
    "gpus_per_replica": (1, 1024),
    "deadline_seconds": (0, 10**9),
}
"""Far above what anybody means, and below what would hang a job or break a process that reads it."""
MOST_STRING = 16_384
"""Characters of arguments written as one string; as an object they may be longer."""
MOST_TASKS = MOST_INSTRUCTION = 200_000
MOST_SEEDS = 200
"""Characters of seeds written as one string."""
_NUMPY_SEEDS = range(2**32)
_MISNAMES = "gives documents the numbers of others where the list is in another order"


@dataclass
class FieldReader:
    """The spec while it is being completed, with what was found wrong and what is worth saying."""

    spec: dict[str, Any]
    faults: list[FaultyField] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paths: int = 0
    """How many were looked up."""

    def given(self, name: str) -> Any:
        """The value now: the user's, else the default."""
        return self.spec[name]

    def fault(self, path: str, message: str, allowed: tuple[str, ...] | None = None) -> None:
        """Something is wrong with a field."""
        self.faults.append(FaultyField(path, message, allowed))

    def refuse_unless(self, holds: bool, path: str, message: str) -> None:
        """A fault where something does not hold."""
        if not holds:
            self.fault(path, message)


def read_fields(given: Mapping[str, Any], settings: Settings) -> FieldReader:
    """Everything that was given over the defaults, in the shapes the spec is stored in."""
    known = {name: value for name, value in given.items() if name in DEFAULTS}
    reader = FieldReader({**DEFAULTS, **known}, notes=list(given.get("_notes", ())))
    for name in given.keys() - DEFAULTS.keys() - {"_notes"}:
        reader.fault(name, "there is no such field")
    if "batch_size" not in given:
        reader.notes.append("batch_size is auto, since none was given (lm_eval would take 1)")
    _read_strings(reader)
    _read_numbers(reader)
    _read_seed(reader)
    _read_choices(reader)
    _read_permissions(reader, settings)
    return reader


def _read_strings(reader: FieldReader) -> None:
    """lm-eval's string forms become objects and lists."""
    parsers: dict[str, Callable[[str, str], Arguments]] = {
        "model_args": parse_model_args,
        "gen_kwargs": parse_gen_kwargs,
        "metadata": parse_model_args,
    }
    for name, parse in parsers.items():
        value = reader.given(name)
        if isinstance(value, str):
            reader.spec[name] = _parsed(value, name, parse, reader)
    for name, value in reader.spec.items():
        if faults := list(unstorable(value, name)):
            reader.faults += faults
            reader.spec[name] = _storable(value) if isinstance(value, dict) else DEFAULTS[name]
    tasks = reader.given("tasks")
    if isinstance(tasks, str) and len(tasks) > MOST_TASKS:
        reader.fault("tasks", f"has at most {MOST_TASKS} characters as text: groups hold many")
        tasks = ""
    if isinstance(tasks, str):
        reader.spec["tasks"] = parse_names(tasks)
    long = len(reader.given("system_instruction") or "") > MOST_INSTRUCTION
    reader.refuse_unless(not long, "system_instruction", f"has at most {MOST_INSTRUCTION} characters")
    if isinstance(reader.given("gen_kwargs"), dict) and not reader.given("gen_kwargs"):
        reader.spec["gen_kwargs"] = None


def _storable(given: Mapping[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in given.items() if not any(unstorable({name: value}, ""))}


def _parsed(
    text: str, name: str, parse: Callable[[str, str], Arguments], reader: FieldReader
) -> dict[str, Any]:
    if len(text) > MOST_STRING:
        reader.fault(name, f"has at most {MOST_STRING} characters as text: send an object")
        return {}
    parsed = parse(text, name)
    reader.faults += parsed.faults
    reader.notes += parsed.notes
    return dict(parsed.values)


def _read_numbers(reader: FieldReader) -> None:
    batch_size = reader.given("batch_size")
    if isinstance(batch_size, str) and re.fullmatch(r"[0-9]{1,9}", batch_size):
        reader.spec["batch_size"] = batch_size = int(batch_size)
    if isinstance(batch_size, str):
        fits = BATCH_SIZE.fullmatch(batch_size) is not None
        reader.refuse_unless(fits, "batch_size", f"{shown(batch_size)} is not a number, auto or auto:N")
    for name, (least, most) in BOUNDS.items():
        value = reader.given(name)
        if isinstance(value, int | float):
            reader.refuse_unless(least <= value <= most, name, f"must be from {least} to {most}")
    limit, samples = reader.given("limit"), reader.given("samples")
    reader.refuse_unless(
        limit is None or 0 < limit < 2**63, "limit", "must be above 0: documents, or a share below 1"
    )
    reader.refuse_unless(limit is None or not samples, "samples", "limit and samples exclude each other")
    _read_samples(reader)


def _read_samples(reader: FieldReader) -> None:
    samples = reader.given("samples")
    if samples is None:
        return
    if not isinstance(samples, dict) or not samples:
        reader.fault("samples", "must be an object of task names with lists of document indices")
        return
    risen: dict[str, list[int]] = {}
    for task, indices in samples.items():
        if not _are_documents(indices):
            reader.fault(f"samples.{task}", "must be a list of document indices")
        elif (rising := sorted(set(indices))) != indices:
            risen[task] = rising
            reader.notes.append(f"samples.{task} in rising order, each once: lm_eval 0.4.13 {_MISNAMES}")
    reader.spec["samples"] = {**samples, **risen}


def _are_documents(indices: Any) -> bool:
    """Whether it is a list of document indices, at least one."""
    return isinstance(indices, list) and indices != [] and all(type(at) is int and at >= 0 for at in indices)


def _read_seed(reader: FieldReader) -> None:
    """One seed for all, or python, numpy, torch and, unless lm-eval's own will do, few-shot; `None` leaves one."""
    given = reader.given("seed")
    if isinstance(given, str) and len(given) > MOST_SEEDS:
        reader.fault("seed", f"has at most {MOST_SEEDS} characters as text")
        return
    try:
        seeds = _seeds(given)
    except ValueError:
        reader.fault("seed", f"{shown(given)} is not one seed, or three or four with commas between")
        return
    if len(seeds) == 1:
        seeds *= len(DEFAULTS["seed"])
    if len(seeds) == len(DEFAULTS["seed"]) - 1:
        seeds.append(DEFAULTS["seed"][-1])
    if len(seeds) != len(DEFAULTS["seed"]):
        reader.fault("seed", "needs one seed, or three or four: python, numpy, torch, few-shot")
        return
    reader.refuse_unless(
        seeds[1] is None or seeds[1] in _NUMPY_SEEDS, "seed", "numpy's seed must be from 0 to 4294967295"
    )
    reader.faults += unstorable(seeds, "seed")
    reader.spec["seed"] = seeds


def _seeds(given: Any) -> list[int | None]:
    if isinstance(given, str):
        return [None if part.strip().lower() == "none" else int(part) for part in given.split(",")]
    return list(given) if isinstance(given, list) else [given]


def _read_choices(reader: FieldReader) -> None:
    spec = reader.spec
    _read_template(reader)
    multiturn, template = spec["fewshot_as_multiturn"], spec["apply_chat_template"]
    reader.refuse_unless(not multiturn or bool(template), "fewshot_as_multiturn", "needs apply_chat_template")
    keeps = spec["log_samples"] or not spec["predict_only"]
    reader.refuse_unless(
        bool(keeps), "log_samples", "predict_only leaves nothing but samples: log_samples must stay on"
    )


def _read_template(reader: FieldReader) -> None:
    given = reader.given("apply_chat_template")
    try:
        chosen = read_chat_template(given) if isinstance(given, str) else given
    except ValueError as error:
        reader.fault("apply_chat_template", str(error))
        chosen = False
    if isinstance(chosen, str):
        reader.notes.append(
            f"prompts are written with the chat template called {shown(chosen)}; lm_eval 0.4.13 would name it in"
            " its report and write them with the default one"
        )
    reader.spec["apply_chat_template"] = chosen


def _read_permissions(reader: FieldReader, settings: Settings) -> None:
    for name in sorted(reader.given("env").keys() - set(settings.env_allowed)):
        reader.fault(f"env.{name}", "this name is not on the operator's allow-list", settings.env_allowed)
    if reader.given("callback_url") is not None:
        reader.fault("callback_url", "this version sends no webhooks yet: watch the job's events instead")
    for name in ("confirm_run_unsafe_code", "trust_remote_code"):
        allowed = settings.allow_unsafe_code or not reader.given(name)
        reader.refuse_unless(allowed, name, "the operator has not switched this on (EVALQ_ALLOW_UNSAFE_CODE)")
