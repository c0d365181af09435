"""The reverse of a pasted command: a job as the `lm_eval` command that would measure the same."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from app.arguments.syntax import MOST_LITERAL, parse_cli_pairs
from app.backends.parallelism import HF_MODELS, argument_names
from app.workloads.lm_eval.command.flag_values import DEFAULT_SEED

_PLAIN = ("num_fewshot", "batch_size", "max_batch_size", "limit", "system_instruction")
_SWITCHES = ("predict_only", "confirm_run_unsafe_code")


def to_command(spec: Mapping[str, Any]) -> str:
    """One line for a shell. Replicas and GPUs per replica become what the backend calls them."""
    assignments = [f"{name}={shlex.quote(value)}" for name, value in (spec.get("env") or {}).items()]
    words = [*_program(spec), "--model", spec["model"], *_pairs("model_args", _model_args(spec))]
    words += ["--tasks", ",".join(spec["tasks"])]
    for name in _PLAIN:
        words += _flag(name, spec.get(name))
    words += _pairs("gen_kwargs", spec.get("gen_kwargs"))
    words += _pairs("metadata", spec.get("metadata"))
    words += _choice("apply_chat_template", spec.get("apply_chat_template") or None)
    words += _choice("fewshot_as_multiturn", spec.get("fewshot_as_multiturn"))
    words += _flag("samples", json.dumps(spec["samples"]) if spec.get("samples") else None)
    words += [f"--{name}" for name in _SWITCHES if spec.get(name)]
    words += _flag("seed", _seed(spec.get("seed")))
    if spec.get("log_samples"):
        words += ["--log_samples", "--output_path", "results"]
    return " ".join([*assignments, *map(shlex.quote, words)])


def _program(spec: Mapping[str, Any]) -> list[str]:
    replicas = _number(spec.get("replicas"))
    if spec["model"] in HF_MODELS and replicas > 1:
        return ["accelerate", "launch", "--num_processes", str(replicas), "-m", "lm_eval", "run"]
    return ["lm_eval", "run"]


def _model_args(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`model_args` with what the job says elsewhere: parallelism goes under the backend's names where it named none."""
    args = dict(spec["model_args"]) | ({"trust_remote_code": True} if spec.get("trust_remote_code") else {})
    if args.get("gguf_file") and (folder := args.pop("subfolder", None)):  # lm-eval finds no tokenizer in one
        args["gguf_file"] = f"{folder}/{args['gguf_file']}"
    names = argument_names(spec["model"])
    replicas, gpus = _number(spec.get("replicas")), _number(spec.get("gpus_per_replica"))
    if names.split and gpus > 1 and not args.keys() & {*names.tensor, *names.pipeline}:
        args[names.split] = True if names.split == "parallelize" else gpus
    if names.data and replicas > 1 and not args.keys() & set(names.data):
        args[names.data[0]] = replicas * (gpus if names.data[0] == "devices" else 1)
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


def _seed(seeds: list[int | None] | None) -> str | None:
    return None if not seeds or tuple(seeds) == DEFAULT_SEED else ",".join(str(seed) for seed in seeds)


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
