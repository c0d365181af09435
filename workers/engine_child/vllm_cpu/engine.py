"""The engine of vLLM, as it runs without a GPU: where one of several on a host keeps to its share."""

from __future__ import annotations

import os

from workers.engine_child.contract import Engine, Reports
from workers.engine_child.vllm.engine import load as load_vllm
from workers.engine_child.vllm.engine import prepare as prepare_vllm
from workers.protocol.engine import Load

CACHE_SHARE = 0.25
"""Of the memory that an engine may hold, for what it remembers of its prompts; the rest is for weights and work."""

SIZED_BY = frozenset({"gpu_memory_utilization", "kv_cache_memory_bytes"})
"""Arguments that say how large this cache is; the variable would go before them."""


def prepare(cache: str | None) -> None:
    """As vllm's: it reads what is set here when it loads."""
    prepare_vllm(cache)


def load(order: Load, reports: Reports) -> Engine:
    """As vllm's; ValueError for a pipeline: vLLM 0.32 loads one on CPUs, and ends at the first request."""
    if order.engine.pipeline_parallel_size > 1:
        raise ValueError("vLLM answers nothing over a pipeline on CPUs: take tensor_parallel_size instead")
    for name, value in surroundings(order).items():
        os.environ.setdefault(name, value)
    return load_vllm(order, reports)


def surroundings(order: Load) -> dict[str, str]:
    """Variables that it is started with, unless the job or the worker's own environment has others.

    vLLM would take nearly all of the host's memory, and bind its threads to the same cores as its neighbours.
    """
    threads = {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if not SIZED_BY.isdisjoint(order.engine.args):
        return threads
    ranks = order.engine.tensor_parallel_size * order.engine.pipeline_parallel_size
    gib = int(CACHE_SHARE * order.memory_bytes / ranks) >> 30
    return {**threads, "VLLM_CPU_KVCACHE_SPACE": str(max(gib, 1))}
