"""The values of lm-eval's flags, typed as lm-eval types them, as fields of a job."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.arguments.syntax import not_json, parse_cli_pairs, parse_names
from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.flags import BY_NAME, Fate, Given
from app.workloads.lm_eval.command.shell_words import placeholder_message
from app.workloads.lm_eval.spec import LmEvalSpec

_CREDENTIAL = re.compile(
    r"(^|_)(hf_token|auth_token|access_token|api_?key|password|secret)$|^token$", re.IGNORECASE
)
_PLACEHOLDER = re.compile(r"<([A-Za-z][^<>]*)>")


@dataclass
class Fields:
    """The fields of a job, as far as a command names them."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    config_path: str | None = None


def fields_of(given: Given) -> Fields:
    """Turn flags into fields; every value that cannot be read is a fault under its field's name."""
    fields = Fields()
    for name, times in given.items():
        flag = BY_NAME[name]
        if flag.fate is Fate.NOTE:
            fields.notes.append(f"--{name} is {flag.says}")
        elif flag.fate is Fate.REFUSED:
            fields.faults.append(Fault("command", f"--{name} {flag.says}"))
        elif name in PAIRS:
            _read_pairs(name, times, fields)
        else:
            _read_value(name, times, fields)
    for name in ("wandb_args", "trackio_args", "hf_hub_log_args"):
        refuse_credentials(parse_cli_pairs(_flat(given.get(name, [])), name).values, name, fields)
    _settle(fields)
    return fields


def _read_pairs(name: str, times: list[list[str]], fields: Fields) -> None:
    pairs = parse_cli_pairs(_flat(times), name)
    fields.notes += pairs.notes
    fields.faults += pairs.faults
    fields.values[name] = refuse_credentials(pairs.values, name, fields)


def _read_value(name: str, times: list[list[str]], fields: Fields) -> None:
    try:
        fields.values[name] = READERS[name](_flat(times) if name == "tasks" else times[-1])
    except ValueError as error:
        fields.faults.append(Fault(name, str(error)))


def _settle(fields: Fields) -> None:
    """What flags do to each other in lm-eval, and what is worth saying about a value."""
    values = fields.values
    fields.config_path = values.pop("config", None)
    if values.pop("trust_remote_code", False):
        values["model_args"] = values.get("model_args", {}) | {"trust_remote_code": True}
    if isinstance(values.get("limit"), float) and values["limit"] > 1:
        fields.notes.append(f"--limit {values['limit']} is {int(values['limit'])} documents of each task")
        values["limit"] = int(values["limit"])
    for name in ("pretrained", "path", "tokenizer"):
        _refuse_placeholders(values.get("model_args", {}).get(name), "model_args", fields)
    for name in values.get("tasks", []):
        _refuse_placeholders(name, "tasks", fields)


def _refuse_placeholders(value: object, path: str, fields: Fields) -> None:
    names = _PLACEHOLDER.findall(value) if isinstance(value, str) else []
    fields.faults += [Fault(path, placeholder_message(name)) for name in names]


def refuse_credentials(values: Mapping[str, Any], path: str, fields: Fields) -> dict[str, Any]:
    """Drop credentials and say so without repeating them."""
    secret = [key for key, value in values.items() if _CREDENTIAL.search(key) and isinstance(value, str)]
    message = "credentials are never taken from a command; the operator gives them to the workers"
    fields.faults += [Fault(f"{path}.{key}", message) for key in secret]
    return {key: value for key, value in values.items() if key not in secret}


def _flat(times: list[list[str]]) -> list[str]:
    return [word for words in times for word in words]


def _text(words: list[str]) -> str:
    return words[0]


def _switch(_: list[str]) -> bool:
    return True


def _tasks(words: list[str]) -> list[str]:
    names = [name for word in words for name in parse_names(word)]
    if names == ["list"]:
        raise ValueError("older lm-eval listed its tasks so; `evalq tasks` or GET /v1/tasks lists them here")
    return names


def _whole(words: list[str]) -> int:
    try:
        return int(words[0])
    except ValueError:
        raise ValueError(f"{words[0]!r} is not a whole number") from None


def _limit(words: list[str]) -> int | float:
    """A number of documents, or below 1 a share of them; `1.0` is one document, as in lm-eval."""
    try:
        limit = float(words[0])
    except ValueError:
        raise ValueError(f"{words[0]!r} is neither a number of documents nor a fraction") from None
    if not math.isfinite(limit):
        raise ValueError(f"{words[0]!r} is neither a number of documents nor a fraction")
    return int(limit) if limit.is_integer() else limit


def _batch_size(words: list[str]) -> int | str:
    if re.fullmatch(r"auto(:\d+)?", words[0]):
        return words[0]
    if words[0].isascii() and words[0].isdigit():
        return int(words[0])
    raise ValueError(f"{words[0]!r} is neither a whole number, auto nor auto:N")


def _chat_template(words: list[str]) -> bool | str:
    """On for the bare flag; else the name of a template."""
    return read_chat_template(words[0]) if words else True


def read_chat_template(word: str) -> bool | str:
    """The name of a template; `true` and `false` name none. ValueError where there is neither."""
    name = word.strip()
    if not name:
        raise ValueError("must be true, false or the name of a template")
    return {"true": True, "false": False}.get(name.lower(), name)


def _multiturn(words: list[str]) -> bool:
    return not words or words[0].lower() in ("true", "1", "yes")


def _samples(words: list[str]) -> dict[str, Any]:
    try:
        samples = json.loads(words[0])
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"not valid JSON ({not_json(error)}); write the JSON itself, files are not read"
        ) from None
    if isinstance(samples, dict):
        return samples
    raise ValueError('expected an object such as {"task": [0, 1, 2]}')


def _seed(words: list[str]) -> list[int | None]:
    """Python, numpy, torch and few-shot seeds; one for all, or three and lm-eval's default for the last."""
    try:
        seeds = [None if word.strip().lower() == "none" else int(word) for word in words[0].split(",")]
    except ValueError:
        raise ValueError(f"{words[0]!r} holds something that is neither a whole number nor None") from None
    seeds = seeds * 4 if len(seeds) == 1 else [*seeds, *LmEvalSpec.seed[3:]] if len(seeds) == 3 else seeds
    if len(seeds) != 4:
        raise ValueError(f"expected 1, 3 or 4 seeds, found {len(seeds)}")
    return seeds


PAIRS = frozenset({"model_args", "gen_kwargs", "metadata"})
"""Flags that take `key=value`."""
READERS: dict[str, Callable[[list[str]], Any]] = {
    "config": _text,
    "tasks": _tasks,
    "model": _text,
    "apply_chat_template": _chat_template,
    "limit": _limit,
    "num_fewshot": _whole,
    "batch_size": _batch_size,
    "max_batch_size": _whole,
    "samples": _samples,
    "system_instruction": _text,
    "fewshot_as_multiturn": _multiturn,
    "predict_only": _switch,
    "seed": _seed,
    "trust_remote_code": _switch,
    "confirm_run_unsafe_code": _switch,
}
"""Each other flag: its words as the value of its field; ValueError says why not."""
