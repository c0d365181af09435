"""Megatron-LM, as lm-eval's MegatronLMEval loads it: known so that its commands are planned."""

from __future__ import annotations

from dataclasses import replace

from app.arguments.kinds import whole
from app.backends.arguments import Arguments
from app.backends.backend import Backend
from app.backends.known_arguments import MODEL_ARGS
from app.backends.memory_names import MemoryNames
from app.backends.nemo_lm import NAMES as NEMO
from app.backends.nemo_lm import USUAL_LENGTH, counted
from app.backends.parallelism import Reading, Widths
from app.domain.ways_out import Levers


def _counted(reading: Reading, widths: Widths) -> Widths:
    if (widths.pipeline or 1) > 1:
        message = "megatron_lm has no pipeline parallelism"
        reading.fault("pipeline_model_parallel_size", message, ("1",))
    return counted(reading, widths)


NAMES = replace(NEMO, has_stages=False, finish=_counted)

BACKEND = Backend(
    name="megatron_lm",
    model_names=("megatron_lm",),
    planned_only=True,
    devices=frozenset({"cuda"}),
    model_argument="load",
    model_files=False,
    arguments=Arguments(
        kinds={**MODEL_ARGS, "micro_batch_size": whole(1), "seq_length": MODEL_ARGS["max_length"]}
    ),
    parallelism=NAMES,
    memory=MemoryNames(
        lengths=("seq_length",), usual_length=USUAL_LENGTH, levers=Levers("seq_length", NAMES.tensor[0])
    ),
)
