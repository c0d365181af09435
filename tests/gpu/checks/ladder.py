"""Starts of vLLM that find too little memory, and the other settings that their jobs go on with by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.gpu.bench import Bench, Figures
from tests.gpu.checks.memory import GIB, ballast
from tests.gpu.engines import VLLM

LEFT = 0.7
"""Of a GPU's memory, beside another process: less than a start asks for, more than half."""

NEVER_LEFT = 0.99
"""Of all memory: the driver, or a host's other processes, hold more than the rest."""

END_SECONDS = 900.0
"""Several starts one after the other."""

SHORT = 96
"""Tokens that a cache holds, of a model that was made for more."""


def ladder(bench: Bench) -> Figures:
    """Memory that another holds is left to it; a cache that is too small takes the length that vLLM names."""
    bench.service.release()
    figures = {"held_by_another": _held(bench)}
    bench.service.release()
    figures["cache"] = _short(bench)
    bench.service.release()
    return figures


def _held(bench: Bench) -> Figures:
    args = {"gpu_memory_utilization": NEVER_LEFT, "num_gpu_blocks_override": 64}
    with _another(bench):
        job = bench.service.finished(
            bench.service.submit(bench.body(2, model=VLLM, model_args=args)), END_SECONDS
        )
    assert job["status"] == "succeeded", job["error"]
    told = changes(bench, job["id"])
    assert told, job
    assert re.fullmatch(r"gpu_memory_utilization 0\.99 -> 0\.\d+", told[0]), told
    first = job["replicas"][0]["error"]
    assert re.search(r"(Free memory on device|Available memory on node)", first["message"]), first
    return {"changes": told, "message": first["message"][:200], "starts": len(job["replicas"])}


def _short(bench: Bench) -> Figures:
    """Two rows, keys and values, for each layer and head, of numbers in 2 or 4 bytes."""
    sizes = bench.scale.model
    width = sizes.get("head_dim") or sizes["hidden_size"] // sizes["num_attention_heads"]
    each = 2 * sizes["num_hidden_layers"] * sizes["num_key_value_heads"] * width
    size = each * (2 if bench.dtype(VLLM) == "bfloat16" else 4)
    args = {"kv_cache_memory_bytes": size * (SHORT + 32)}
    job = bench.service.finished(
        bench.service.submit(bench.body(2, model=VLLM, model_args=args)), END_SECONDS
    )
    assert job["status"] == "succeeded", job["error"]
    told = changes(bench, job["id"])
    assert len(told) == 1, told
    assert re.fullmatch(r"max_model_len \d+ -> \d+", told[0]), told
    assert job["replicas"][0]["error"]["code"] == "kv_cache_too_small", job["replicas"]
    return {"changes": told, "starts": len(job["replicas"])}


def changes(bench: Bench, job_id: str) -> list[str]:
    """The steps that were told as events."""
    found: list[dict[str, Any]] = [
        event["data"] for event in bench.service.events(job_id) if event["type"] == "job.retrying"
    ]
    return [data["change"] for data in found if "change" in data]


@contextmanager
def _another(bench: Bench) -> Iterator[float]:
    """Somebody else's memory: a host has that anyway."""
    if bench.gpu is None:
        yield 0.0
        return
    with ballast(bench, int(LEFT * bench.gpu.memory_total_bytes)) as held:
        yield held / GIB
