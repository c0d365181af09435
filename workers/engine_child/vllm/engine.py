"""The engine of vLLM, which reads its environment when it is imported."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from workers.engine_child.contract import Engine, Reports
from workers.protocol.engine import Load


def load(order: Load, reports: Reports) -> Engine:
    """Load the model under vLLM's argument names; raises whatever vLLM does."""
    prepare(order.cache)
    from workers.engine_child.vllm.loading import load as load_vllm

    return load_vllm(order, reports)


def prepare(cache: str | None) -> None:
    """Import vLLM, with the environment that it reads."""
    for name, value in surroundings(cache).items():
        os.environ.setdefault(name, value)
    import_module("workers.engine_child.vllm.loading")


def surroundings(folder: str | None) -> dict[str, str]:
    """Variables that vLLM is started with, unless the job or the worker's own environment has others."""
    told = {"VLLM_NO_USAGE_STATS": "1"}
    if folder is None:
        return told
    cache = Path(folder, "vllm")
    return told | {"VLLM_CACHE_ROOT": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor")}
