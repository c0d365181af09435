"""The fields of a job that need nothing else to be judged: their types, their bounds, their defaults."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.errors import FaultyField
from app.harnesses.arguments import Arguments, parse_gen_kwargs, parse_model_args, parse_names
from app.settings import Settings

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

_BATCH_SIZE = re.compile(r"auto(:[1-9]\d*)?")
_SEEDS = 4


@dataclass
class FieldReader:
    """The spec while it is being completed, with what was found wrong and what is worth saying."""

    spec: dict[str, Any]
    faults: list[FaultyField] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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
            parsed = parse(value, name)
            reader.spec[name] = dict(parsed.values)
            reader.faults += parsed.faults
            reader.notes += parsed.notes
        for path in _not_finite(reader.given(name), name):
            reader.fault(path, "is not a finite number")
    tasks = reader.given("tasks")
    if isinstance(tasks, str):
        reader.spec["tasks"] = parse_names(tasks)
    if isinstance(reader.given("gen_kwargs"), dict) and not reader.given("gen_kwargs"):
        reader.spec["gen_kwargs"] = None


def _not_finite(value: Any, path: str) -> Iterator[str]:
    """Paths of NaN and infinities, which lm-eval's string forms can spell and JSON cannot."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{path}.{index}")


def _read_numbers(reader: FieldReader) -> None:
    batch_size = reader.given("batch_size")
    if isinstance(batch_size, str) and re.fullmatch(r"[0-9]{1,9}", batch_size):
        reader.spec["batch_size"] = batch_size = int(batch_size)
    if isinstance(batch_size, str):
        fits = _BATCH_SIZE.fullmatch(batch_size) is not None
        reader.refuse_unless(fits, "batch_size", f"{batch_size!r} is not a number, auto or auto:N")
    else:
        reader.refuse_unless(batch_size >= 1, "batch_size", "must be at least 1")
    for name in ("max_batch_size", "replicas", "gpus_per_replica", "deadline_seconds"):
        value = reader.given(name)
        if isinstance(value, int | float):
            at_least = 1 if name != "deadline_seconds" else 0
            reader.refuse_unless(value >= at_least, name, f"must be at least {at_least}")
    limit, samples = reader.given("limit"), reader.given("samples")
    reader.refuse_unless(
        limit is None or limit > 0, "limit", "must be above 0: documents, or a share below 1"
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
    for task, indices in samples.items():
        whole = isinstance(indices, list) and all(type(index) is int and index >= 0 for index in indices)
        reader.refuse_unless(whole and bool(indices), f"samples.{task}", "must be a list of document indices")


def _read_seed(reader: FieldReader) -> None:
    """One seed for all four, or four: python, numpy, torch, few-shot; `None` leaves one unset."""
    seed = reader.given("seed")
    if isinstance(seed, str):
        try:
            seed = [None if part.strip() == "None" else int(part) for part in seed.split(",")]
        except ValueError:
            reader.fault("seed", f"{seed!r} is not a number or four numbers with commas between")
            return
    if isinstance(seed, int):
        seed = [seed]
    if len(seed) == 1:
        seed = seed * _SEEDS
    reader.refuse_unless(
        len(seed) == _SEEDS, "seed", "needs one seed or four: python, numpy, torch, few-shot"
    )
    reader.spec["seed"] = seed


def _read_choices(reader: FieldReader) -> None:
    spec = reader.spec
    multiturn, template = spec["fewshot_as_multiturn"], spec["apply_chat_template"]
    reader.refuse_unless(not multiturn or bool(template), "fewshot_as_multiturn", "needs apply_chat_template")
    keeps = spec["log_samples"] or not spec["predict_only"]
    reader.refuse_unless(
        bool(keeps), "log_samples", "predict_only leaves nothing but samples: log_samples must stay on"
    )


def _read_permissions(reader: FieldReader, settings: Settings) -> None:
    for name in sorted(reader.given("env").keys() - set(settings.env_allowed)):
        reader.fault(f"env.{name}", "this name is not on the operator's allow-list", settings.env_allowed)
    if reader.given("callback_url") is not None:
        reader.fault("callback_url", "this version sends no webhooks yet: watch the job's events instead")
    for name in ("confirm_run_unsafe_code", "trust_remote_code"):
        allowed = settings.allow_unsafe_code or not reader.given(name)
        reader.refuse_unless(allowed, name, "the operator has not switched this on (EVALQ_ALLOW_UNSAFE_CODE)")
