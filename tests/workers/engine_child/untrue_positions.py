"""An engine child whose models do not heed the positions that they are told."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM

real_forward = LlamaForCausalLM.forward


def forward(self: Any, *args: Any, position_ids: Any = None, **kwargs: Any) -> Any:
    del position_ids
    return real_forward(self, *args, **kwargs)


LlamaForCausalLM.forward = forward
runpy.run_path(str(Path(__file__).parents[3] / "workers/engine_child/bootstrap.py"))["load_workers"]()
sys.exit(__import__("workers.engine_child.main", fromlist=["main"]).main())
