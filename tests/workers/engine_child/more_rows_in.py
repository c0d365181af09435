"""An engine child whose models embed more tokens than they tell of."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

real_eval = LlamaForCausalLM.eval


def widened(self: Any) -> Any:
    rows = self.model.embed_tokens.weight.detach()
    self.model.embed_tokens = torch.nn.Embedding.from_pretrained(torch.cat([rows] * 8))
    return real_eval(self)


LlamaForCausalLM.eval = widened
runpy.run_path(str(Path(__file__).parents[3] / "workers/engine_child/bootstrap.py"))["load_workers"]()
sys.exit(__import__("workers.engine_child.main", fromlist=["main"]).main())
