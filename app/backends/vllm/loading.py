"""How a job's arguments become those of an engine of vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.backends.backend import Loading
from app.backends.parallelism import ArgumentNames, Reading, Widths

_LEFT_OUT = {
    "download_dir": "models are kept where the operator says (HF_HOME)",
    "swap_space": "vLLM has none any more, and lm_eval ignores it",
}
_REPLICATING = ("data_parallel_backend",)


def _replicated(reading: Reading, widths: Widths) -> Widths:
    for name in [name for name in _REPLICATING if name in reading.args]:
        del reading.args[name]
        reading.notes.append(f"model_args.{name} is left out: replicas do the data parallelism")
    return widths


PARALLELISM = ArgumentNames(
    ("tensor_parallel_size",), ("pipeline_parallel_size",), ("data_parallel_size",), finish=_replicated
)


def is_settled(args: Mapping[str, Any]) -> bool:
    """Whether the harness has nothing to add: it tells the length, as a number under one name, and texts as texts."""
    length, end = args.get("max_model_len"), args.get("think_end_token")
    return type(length) is int and not args.get("max_length") and not isinstance(end, int)


def settle(loading: Loading) -> tuple[dict[str, Any], list[str]]:
    """Leave out what no engine is given; `max_batch_size` bounds what runs at once, as in lm-eval."""
    args = {name: value for name, value in loading.args.items() if name not in _LEFT_OUT}
    notes = [
        f"model_args.{name} is left out: {why}" for name, why in _LEFT_OUT.items() if name in loading.args
    ]
    if loading.max_batch_size and args.get("max_num_seqs") is None:
        args["max_num_seqs"] = loading.max_batch_size
        notes.append(f"max_num_seqs={loading.max_batch_size}, as lm_eval takes max_batch_size")
    notes.append(
        "tasks that say neither do_sample nor temperature are answered greedily, as lm_eval notes them; its own vllm"
        " would sample them at temperature 1"
    )
    return args, notes
