"""The engine of vLLM, as it runs without a GPU: where one of several on a host keeps to its share."""

from __future__ import annotations

import os
from typing import Any

OURS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_CI_ENV": "1",
}
"""Unless the job or the worker's own environment says otherwise: GiB of cache, and no claim on all cores."""


def load(order: Any, reports: Any) -> Any:
    """As vllm's; it reads its environment when it is imported."""
    for name, value in OURS.items():
        os.environ.setdefault(name, value)
    from workers.engine_child.vllm.engine import load as load_vllm

    return load_vllm(order, reports)
