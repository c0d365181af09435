"""What lm-eval's other engines call their parallelism. evalq does not run them: who uses their names is told the right
ones, and a command for one of them can be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.backends.parallelism import ArgumentNames, Reading, Widths


def _nemo(reading: Reading, widths: Widths) -> Widths:
    """`devices` is TP x PP, or with neither a number of replicas (nemo_lm.py, lines 211 to 235)."""
    if reading.args.get("expert_model_parallel_size", 1) != 1:
        reading.fault("expert_model_parallel_size", "expert parallelism is not supported here", ("1",))
    tensor, pipeline, devices = widths.tensor or 1, widths.pipeline or 1, widths.replicas
    width = tensor * pipeline
    if devices is None or width == devices:
        replicas = None if devices is None else 1
        return replace(widths, replicas=replicas, gpus=width if devices or width > 1 else None)
    if width == 1:
        return replace(widths, gpus=1)
    message = f"devices={devices} must be tensor x pipeline parallel size ({tensor} x {pipeline} = {width})"
    reading.fault("devices", message, (str(width),))
    return replace(widths, replicas=None, gpus=width)


def _megatron(reading: Reading, widths: Widths) -> Widths:
    if (widths.pipeline or 1) > 1:
        message = "megatron_lm has no pipeline parallelism"
        reading.fault("pipeline_model_parallel_size", message, ("1",))
    return _nemo(reading, widths)


VLLM_VLM = ArgumentNames(("tensor_parallel_size",), ("pipeline_parallel_size",), ("data_parallel_size",))
SGLANG = ArgumentNames(("tp_size",), ("pp_size",), ("dp_size",), ("nnodes",))
NEMO = ArgumentNames(
    ("tensor_model_parallel_size",),
    ("pipeline_model_parallel_size",),
    ("devices",),
    ("num_nodes",),
    data_counts_devices=True,
    finish=_nemo,
)

ELSEWHERE: Mapping[str, ArgumentNames] = {
    "vllm-vlm": VLLM_VLM,
    "sglang": SGLANG,
    "nemo_lm": NEMO,
    "megatron_lm": replace(NEMO, finish=_megatron),
}
"""By what lm-eval's `--model` calls them."""
