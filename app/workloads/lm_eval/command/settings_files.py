"""What the YAML behind `lm_eval run --config` holds, as fields that lie under those of the flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.arguments.syntax import parse_gen_kwargs, parse_model_args
from app.errors import FaultyField as Fault
from app.workloads.lm_eval.command.flag_values import PAIRS, READERS, Fields, refuse_credentials
from app.workloads.lm_eval.command.flags import BY_NAME, FLAGS, Fate
from app.workloads.lm_eval.command.processes import is_launchers

_SWITCHES = frozenset(flag.name for flag in FLAGS if flag.fate is Fate.FIELD and flag.arity in (0, "?"))
_ABOVE_ARGUMENTS = "trust_remote_code"
"""Goes into the model's arguments, whichever comes first in the file."""
_MOST_WORDS = 2000


def merge_settings(fields: Fields, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Put a file's settings under the flags, as lm-eval does; without its content a file is a fault that names it."""
    own = (file for file in files.values() if not is_launchers(file))
    settings = next(own, None) if fields.config_path is None else files.get(fields.config_path)
    if settings is None:
        if fields.config_path is not None:
            message = (
                f"{fields.config_path[:200]!r} is a file of your machine: `evalq submit` reads it,"
                " HTTP takes what it holds as `files`"
            )
            fields.faults.append(Fault("command", message))
        return
    for name, value in sorted(settings.items(), key=lambda setting: setting[0] == _ABOVE_ARGUMENTS):
        flag = BY_NAME.get(name)
        if flag is None:
            fields.faults.append(Fault(f"config.{name[:80]}", f"lm_eval run has no setting {name[:80]}"))
        elif flag.fate is Fate.NOTE:
            fields.notes.append(f"{name} in the file is {flag.says}")
        elif flag.fate is Fate.REFUSED and value:
            fields.faults.append(Fault(f"config.{name}", flag.says))
        elif name != "config" and name not in fields.values and value is not None:
            _take(name, value, fields)


def _take(name: str, value: Any, fields: Fields) -> None:
    try:
        taken = _pairs(name, value, fields) if name in PAIRS else _read(name, value)
    except ValueError as error:
        fields.faults.append(Fault(f"config.{name}", str(error)))
        return
    if name != _ABOVE_ARGUMENTS:
        fields.values[name] = taken
    elif taken:
        fields.values["model_args"] = {"trust_remote_code": True} | fields.values.get("model_args", {})


def _pairs(name: str, value: Any, fields: Fields) -> dict[str, Any]:
    if isinstance(value, str):
        read = parse_model_args if name == "model_args" else parse_gen_kwargs
        arguments = read(value, f"config.{name}")
        fields.faults += arguments.faults
        fields.notes += arguments.notes
        value = dict(arguments.values)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("must be names with values")
    return refuse_credentials(value, name, fields)


def _read(name: str, value: Any) -> Any:
    """A value as the flag of the same name would have brought it."""
    if isinstance(value, bool):
        if name not in _SWITCHES:
            raise ValueError("must be no true or false")
        return value
    if name == "samples" and isinstance(value, dict):
        return value
    if name in _SWITCHES and name != "apply_chat_template":
        raise ValueError("must be true or false")
    words = value if isinstance(value, list) and name in ("tasks", "seed") else [value]
    if len(words) > _MOST_WORDS or not all(
        word is None or isinstance(word, str | int | float) for word in words
    ):
        raise ValueError("must be one value, or a list of values for tasks and seed")
    texts = [str(word) for word in words]
    return READERS[name]([",".join(texts)] if name == "seed" else texts)
