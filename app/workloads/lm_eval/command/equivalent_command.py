"""The reverse of a pasted command: a job as the `lm_eval` command that would measure the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from app.arguments.syntax import MOST_LITERAL, parse_cli_pairs
from app.backends.registry import argument_names
from app.workloads.lm_eval.spec import LmEvalSpec

_FLAGS_OF_THEIR_OWN = frozenset({"batch_size", "max_batch_size"})
"""Arguments that lm-eval takes once: beside a flag of that name it ends with a TypeError."""


def to_command(spec: LmEvalSpec) -> str:
    """One line for a shell. Replicas and GPUs per replica become what the backend calls them."""
    assignments = [f"{name}={shlex.quote(value)}" for name, value in spec.env.items()]
    words = [*_program(spec), "--model", spec.model, *_pairs("model_args", _model_args(spec))]
    words += ["--tasks", ",".join(spec.tasks)]
    words += _flag("num_fewshot", spec.num_fewshot)
    words += _flag("batch_size", spec.batch_size)
    words += _flag("max_batch_size", spec.max_batch_size)
    words += _flag("limit", spec.limit)
    words += _flag("system_instruction", spec.system_instruction)
    words += _pairs("gen_kwargs", spec.gen_kwargs)
    words += _pairs("metadata", spec.metadata)
    words += _choice("apply_chat_template", spec.apply_chat_template or None)
    words += _choice("fewshot_as_multiturn", spec.fewshot_as_multiturn)
    words += _flag("samples", json.dumps(dict(spec.samples)) if spec.samples else None)
    words += ["--predict_only"] if spec.predict_only else []
    words += ["--confirm_run_unsafe_code"] if spec.confirm_run_unsafe_code else []
    words += _flag("seed", _seed(spec.seed))
    words += ["--log_samples", "--output_path", "results"] if spec.log_samples else []
    return " ".join([*assignments, *map(shlex.quote, words)])


def _program(spec: LmEvalSpec) -> list[str]:
    replicas = _number(spec.replicas)
    if argument_names(spec.model).accelerate and replicas > 1:
        return ["accelerate", "launch", "--num_processes", str(replicas), "-m", "lm_eval", "run"]
    return ["lm_eval", "run"]


def _model_args(spec: LmEvalSpec) -> dict[str, Any]:
    """`model_args` with what the job says elsewhere: parallelism goes under the backend's names where it named none."""
    args = {name: value for name, value in spec.model_args.items() if name not in _FLAGS_OF_THEIR_OWN}
    args |= {"trust_remote_code": True} if spec.trust_remote_code else {}
    if args.get("gguf_file") and (folder := args.pop("subfolder", None)):  # lm-eval finds no tokenizer in one
        args["gguf_file"] = f"{folder}/{args['gguf_file']}"
    names = argument_names(spec.model)
    replicas, gpus = _number(spec.replicas), _number(spec.gpus_per_replica)
    if names.split and gpus > 1 and not args.keys() & {*names.tensor, *names.pipeline}:
        args[names.split] = True if names.switch else gpus
    if names.data and replicas > 1 and not args.keys() & set(names.data):
        args[names.data[0]] = replicas * (gpus if names.data_counts_devices else 1)
    return args


def _number(value: object) -> int:
    return value if isinstance(value, int) else 1


def _flag(name: str, value: object) -> list[str]:
    return [] if value is None else [f"--{name}", str(value)]


def _choice(name: str, value: bool | str | None) -> list[str]:
    """A flag whose value may be left out when it is on; one that looks like a flag is tied to it."""
    match value:
        case None:
            return []
        case bool():
            return [f"--{name}"] if value else [f"--{name}", "false"]
        case _:
            return [f"--{name}={value}"] if value.startswith("-") else [f"--{name}", value]


def _seed(seeds: Sequence[int | None]) -> str | None:
    return None if seeds == LmEvalSpec.seed else ",".join(map(str, seeds))


def _pairs(name: str, values: Mapping[str, Any] | None) -> list[str]:
    """`key=value,...` where that reads back as the same values; else a JSON object, which lm-eval takes too."""
    if not values:
        return []
    if all(_reads_back(key, value) for key, value in values.items()):
        return [f"--{name}", ",".join(f"{key}={value}" for key, value in values.items())]
    return [f"--{name}", json.dumps(dict(values))]


def _reads_back(key: str, value: Any) -> bool:
    if isinstance(value, int | float) and value < 0:  # lm-eval's command line makes -1 a float
        return False
    if isinstance(value, list | dict) or (isinstance(value, str) and len(value) > MOST_LITERAL):
        return False
    read = parse_cli_pairs([f"{key}={value}"], "")
    same = read.values == {key: value} and type(read.values[key]) is type(value)
    return same and not read.notes and not _has_quotes(value)


def _has_quotes(value: object) -> bool:
    return isinstance(value, str) and any(quote in value for quote in "\"'\\")
