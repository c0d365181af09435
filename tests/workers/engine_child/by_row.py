"""An engine child whose models see no further than 256 places back in a row."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

real_forward = LlamaForCausalLM.forward


def forward(self: Any, *args: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
    if attention_mask is not None and attention_mask.dim() == 4:
        far = torch.ones(attention_mask.shape[-2:], dtype=torch.bool).tril(-256)
        attention_mask = attention_mask.masked_fill(far, torch.finfo(attention_mask.dtype).min)
    return real_forward(self, *args, attention_mask=attention_mask, **kwargs)


LlamaForCausalLM.forward = forward
runpy.run_path(str(Path(__file__).parents[3] / "workers/engine_child/bootstrap.py"))["load_workers"]()
sys.exit(__import__("workers.engine_child.main", fromlist=["main"]).main())
