"""NeMo, as lm-eval's NeMoLM loads it: known so that its commands are planned."""

from __future__ import annotations

from dataclasses import replace

from app.arguments.kinds import one_of, whole
from app.backends.arguments import Arguments
from app.backends.backend import Backend
from app.backends.known_arguments import MODEL_ARGS
from app.backends.memory_names import MemoryNames
from app.backends.parallelism import ArgumentNames, Reading, Widths
from app.domain.ways_out import Levers

USUAL_LENGTH = 4096
"""Of NeMoLM and MegatronLMEval, where a job says nothing."""
_PRECISIONS = (
    "bf16",
    "bf16-mixed",
    "bf16-true",
    "16-mixed",
    "16-true",
    "32-true",
    "64-true",
    "16",
    "32",
    "64",
)


def counted(reading: Reading, widths: Widths) -> Widths:
    """`devices` is TP x PP, or with neither a number of replicas (nemo_lm.py, lines 211 to 235)."""
    if (reading.args.get("expert_model_parallel_size") or 1) != 1:
        reading.fault("expert_model_parallel_size", "expert parallelism is not planned for it", ("1",))
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


NAMES = ArgumentNames(
    ("tensor_model_parallel_size",),
    ("pipeline_model_parallel_size",),
    ("devices",),
    ("num_nodes",),
    data_counts_devices=True,
    finish=counted,
)

BACKEND = Backend(
    name="nemo_lm",
    model_names=("nemo_lm",),
    planned_only=True,
    devices=frozenset({"cuda"}),
    model_argument="path",
    model_files=False,
    arguments=Arguments(
        kinds={**MODEL_ARGS, "num_nodes": whole(1), "precision": one_of(*_PRECISIONS)}, model_adds=False
    ),
    parallelism=NAMES,
    memory=MemoryNames(
        lengths=("max_length",),
        usual_length=USUAL_LENGTH,
        levers=Levers("max_length", NAMES.tensor[0], NAMES.pipeline[0]),
    ),
)
