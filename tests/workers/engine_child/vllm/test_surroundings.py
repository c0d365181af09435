"""What a vLLM engine is started with, before vLLM is imported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workers.engine_child.vllm import engine as vllm
from workers.engine_child.vllm_cpu import engine as vllm_cpu
from workers.protocol.engine import EngineRecipe, Load


def order(ranks: int = 1, stages: int = 1, gib: int = 0) -> Load:
    return Load(EngineRecipe("vllm-cpu", "m", None, {}, {}, ranks, stages), "cpu", 64, gib << 30)


def test_what_is_compiled_is_kept_where_it_lasts() -> None:
    kept = vllm.surroundings("/cache")
    assert (kept["VLLM_CACHE_ROOT"], kept["TORCHINDUCTOR_CACHE_DIR"]) == (
        "/cache/vllm",
        "/cache/vllm/inductor",
    )
    assert vllm.surroundings(None) == {"VLLM_NO_USAGE_STATS": "1"}


@pytest.mark.parametrize(("gib", "ranks", "space"), [(24, 1, "6"), (24, 2, "3"), (2, 1, "1"), (0, 1, "1")])
def test_the_cache_of_prompts_is_a_share_of_the_engines(gib: int, ranks: int, space: str) -> None:
    assert vllm_cpu.surroundings(order(ranks, gib=gib))["VLLM_CPU_KVCACHE_SPACE"] == space


@pytest.mark.parametrize("name", ["gpu_memory_utilization", "kv_cache_memory_bytes"])
def test_a_job_that_says_how_large_it_is_has_its_way(name: str) -> None:
    sized = replace(order(), engine=EngineRecipe("vllm-cpu", "m", args={name: 0.5}))
    assert "VLLM_CPU_KVCACHE_SPACE" not in vllm_cpu.surroundings(sized)


def test_a_pipeline_on_cpus_is_refused_before_it_is_loaded() -> None:
    with pytest.raises(ValueError, match="take tensor_parallel_size"):
        vllm_cpu.load(order(stages=2), reports=None)  # type: ignore[arg-type]
