"""What every check is given: a running service, a model, and how large everything is."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from app.gpus.nvml import Gpu
from tests.gpu.engines import HF, Tested
from tests.gpu.service import Service
from tests.gpu.watch import Watch
from tests.reference import Reference, written
from tests.tiny_models import tiny_llama

HERE = Path(__file__).parent
TASKS = HERE / "tasks"
ALL_TASKS = ("gpu_choice", "gpu_generate", "gpu_rolling")
Figures = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How large the model and the jobs are."""

    model: Mapping[str, int]
    """Of LlamaConfig."""
    parity_documents: int
    victims: Sequence[str]
    """Of SIGKILLs."""
    kill_documents: int
    speed_documents: int
    speed_rounds: int
    batch_size: int
    cold: Sequence[tuple[bool, bool]]
    """With a spare interpreter, with an early start."""


ON_GPU = Scale(
    # Llama 3.2 1B in all but its tokenizer: 1.24 billion parameters
    model={
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 1024,
    },
    parity_documents=48,
    victims=("engine", "shim", "worker"),
    kill_documents=200,
    speed_documents=250,
    speed_rounds=2,
    batch_size=16,
    cold=((False, False), (True, False), (False, True), (True, True)),
)
ON_CPU = Scale(
    model={
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,  # of a width that vLLM takes on a CPU
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
    },
    parity_documents=4,
    victims=("shim", "worker"),
    kill_documents=80,
    speed_documents=6,
    speed_rounds=1,
    batch_size=4,
    cold=((True, True),),
)


@dataclass(frozen=True)
class Bench:
    """One machine under test."""

    service: Service
    engines: Mapping[str, Tested]
    """By what a job says."""
    model: Path
    scale: Scale
    folder: Path
    gpu: Gpu | None
    env: Mapping[str, str] = field(default_factory=dict)
    """Of the service."""

    @property
    def devices(self) -> str:
        """As a worker is told its own."""
        return str(self.gpu.index) if self.gpu else "cpu:1"

    @property
    def python(self) -> Path:
        """The hf backend's."""
        return self.engines[HF].python

    def body(
        self, documents: int, tasks: Sequence[str] = ("gpu_choice",), model: str = HF, **fields: Any
    ) -> dict[str, Any]:
        """A job as it is posted: in the type that a GPU has, nothing taken from the store."""
        engine = self.engines[model]
        args = {"pretrained": str(self.model), "dtype": self.dtype(model), **engine.args}
        sized = {"batch_size": self.scale.batch_size} if model == HF else {}
        return {
            "model": model,
            "model_args": args | fields.pop("model_args", {}),
            "tasks": list(tasks),
            "limit": documents,
            **sized,
            "reuse_responses": False,
        } | fields

    def dtype(self, model: str) -> str:
        """What its jobs are computed in where the check says nothing else."""
        return "bfloat16" if "bfloat16" in self.engines[model].dtypes or model == HF else "float32"

    def lm_eval(
        self,
        documents: int,
        tasks: Sequence[str] = ("gpu_choice",),
        dtype: str = "bfloat16",
        model: str = HF,
    ) -> tuple[Reference, float]:
        """The same job as `lm_eval run` does it, on the same device, and its seconds from nothing."""
        engine = self.engines[model]
        args = {"pretrained": self.model, "dtype": dtype, **engine.args}
        with tempfile.TemporaryDirectory(prefix="lm-eval-") as output:
            words = [
                *("run", "--model", model, "--device", "cuda:0" if self.gpu else "cpu"),
                *("--tasks", ",".join(tasks), "--include_path", str(TASKS), "--limit", str(documents)),
                *("--model_args", ",".join(f"{name}={value}" for name, value in args.items())),
                *("--batch_size", str(self.scale.batch_size) if model == HF else "auto"),
                *("--log_samples", "--output_path", output),
            ]
            begun = time.monotonic()
            engine.lm_eval(words)
            return written(Path(output)), time.monotonic() - begun

    def watch(self) -> Watch:
        """Looks at the GPU meanwhile."""
        return Watch(self.gpu.uuid if self.gpu else None)


def make_model(python: Path, scale: Scale, cache_dir: Path, folder: Path) -> Path:
    """A model of random weights with the tokenizer of the tests' model."""
    script = str(HERE / "random_llama.py")
    command = [str(python), script, str(tiny_llama(cache_dir)), str(folder), json.dumps(dict(scale.model))]
    subprocess.run(command, check=True)
    return folder


def seconds(text: str) -> float:
    """A time of the API in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
