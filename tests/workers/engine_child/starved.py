"""An engine child whose model raises torch's out-of-memory error above TOKENS_THAT_FIT tokens a batch."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

FITTING = int(os.environ["TOKENS_THAT_FIT"])
real_forward = LlamaForCausalLM.forward


def starved_forward(self: Any, input_ids: Any, **kwargs: Any) -> Any:
    if input_ids.numel() > FITTING:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return real_forward(self, input_ids, **kwargs)


LlamaForCausalLM.forward = starved_forward
runpy.run_path(str(Path(__file__).parents[3] / "workers/engine_child/bootstrap.py"))["load_workers"]()
sys.exit(__import__("workers.engine_child.main", fromlist=["main"]).main())
