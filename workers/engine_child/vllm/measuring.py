"""What a loaded engine takes: said by its ranks, which alone know it, and by its configuration."""

from __future__ import annotations

import logging
from typing import Any

EXTENSION = f"{__name__}.RankMeasures"
"""Under this name vLLM adds to its ranks what they can be asked."""

log = logging.getLogger("engine")


class RankMeasures:
    """Becomes a base of vLLM's own worker, one for each rank."""

    model_runner: Any

    def evalq_measures(self) -> dict[str, float]:
        """What this rank takes of its device; what vLLM reserves for its cache beyond it is not in it.

        It never raises: answers of other ranks would be left for who asks next.
        """
        try:
            return self._taken()
        except Exception:
            log.exception("what this rank takes is not known")
            return {}

    def _taken(self) -> dict[str, float]:
        runner = self.model_runner
        weights = getattr(runner, "model_memory_usage", 0) or _held_by(runner.model)
        told = {"weights_bytes": float(weights)}
        allowed = getattr(self, "requested_memory", None)
        cache = getattr(self, "available_kv_cache_memory_bytes", None)
        if allowed is not None and cache is not None:
            told["other_bytes"] = float(allowed - cache - weights)
        return told


def measures(llm: Any) -> dict[str, float]:
    """By the names of `Loaded`; what cannot be had is left out, since an engine that answers is all that is needed."""
    cache = llm.llm_engine.vllm_config.cache_config
    tokens = cache.kv_cache_size_tokens or (cache.num_gpu_blocks or 0) * cache.block_size
    try:
        ranks = llm.collective_rpc("evalq_measures")
    except Exception:
        log.exception("what the engine takes is not known")
        ranks = []
    names = {name for rank in ranks for name in rank}
    most = {name: max(rank[name] for rank in ranks if name in rank) for name in names}
    return {"cache_tokens": float(tokens), **most}


def _held_by(model: Any) -> int:
    """Bytes of its parameters and buffers, each storage once."""
    storages = (tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers()))
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
