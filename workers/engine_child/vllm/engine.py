"""The engine of vLLM, which reads its environment when it is imported."""

from __future__ import annotations

import os
from pathlib import Path

from workers.engine_child.contract import Engine, Reports
from workers.protocol.engine import Load


def load(order: Load, reports: Reports) -> Engine:
    """Load the model under vLLM's argument names; raises whatever vLLM does."""
    for name, value in surroundings(order).items():
        os.environ.setdefault(name, value)
    from workers.engine_child.vllm.loading import load as load_vllm

    return load_vllm(order, reports)


def surroundings(order: Load) -> dict[str, str]:
    """Variables that vLLM is started with, unless the job or the worker's own environment has others."""
    kept = {} if order.cache is None else {"VLLM_CACHE_ROOT": str(Path(order.cache, "vllm"))}
    if order.cache is not None:  # else among the temporary files, which go with this process
        kept["TORCHINDUCTOR_CACHE_DIR"] = str(Path(order.cache, "vllm", "inductor"))
    return {"VLLM_NO_USAGE_STATS": "1", **kept}
