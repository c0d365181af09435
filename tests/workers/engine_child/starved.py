"""An engine child whose model raises torch's out-of-memory error above TOKENS_THAT_FIT tokens a batch."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

FITTING = int(os.environ["TOKENS_THAT_FIT"])
real_call = HFLM._model_call


def starved_call(self: Any, inps: Any, *args: Any, **kwargs: Any) -> Any:
    if inps.numel() > FITTING:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return real_call(self, inps, *args, **kwargs)


HFLM._model_call = starved_call
runpy.run_path(str(Path(__file__).parents[3] / "workers/engine_child/bootstrap.py"))["load_workers"]()
sys.exit(__import__("workers.engine_child.main", fromlist=["main"]).main())
