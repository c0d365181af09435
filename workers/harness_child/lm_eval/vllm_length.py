"""The longest sequence of a model, before there is an engine: as vLLM's ModelConfig derives it (0.32 and 0.33)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from transformers import PreTrainedConfig
from transformers.configuration_utils import ALLOWED_LAYER_TYPES

NAMES = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)

UNKNOWN = 2048
"""Of a configuration that says nothing."""

SCALED = frozenset(
    {"su", "longrope", "llama3", "yarn", "telechat3-yarn", "deepseek_yarn", "deepseek_llama_scaling"}
)
"""Kinds of rotary embeddings whose factor is in the configuration's length already."""

LONG = frozenset({"su", "longrope"})


def longest(config: PreTrainedConfig, args: Mapping[str, Any]) -> int:
    """What vLLM takes where the job says nothing; `args` are the engine's."""
    text = _overridden(config, args.get("hf_overrides") or {}).get_text_config()
    derived = _stated(text, windowed=bool(args.get("disable_sliding_window")))
    ropes = [rope for rope in _ropes(text) if rope]
    if ropes and "gemma3" not in text.model_type:
        derived *= _factor(ropes)
    if any(_kind(rope) in LONG for rope in ropes):
        derived = getattr(text, "original_max_position_embeddings", derived)
    return int(derived)


def _overridden(config: PreTrainedConfig, overrides: Mapping[str, Any]) -> PreTrainedConfig:
    if not overrides:
        return config
    config = copy.deepcopy(config)
    for name, value in overrides.items():
        own = getattr(config, name, None)
        nested = isinstance(own, PreTrainedConfig) and isinstance(value, Mapping)
        setattr(config, name, _overridden(own, value) if nested else value)
    return config


def _stated(text: PreTrainedConfig, *, windowed: bool) -> float:
    """The smallest of the names, unless the one stands there that says it is the whole truth."""
    stated = [value for name in NAMES if (value := getattr(text, name, None)) is not None]
    length: float = getattr(text, "model_max_length", None) or min(stated, default=inf)
    window = getattr(text, "sliding_window", None)
    if windowed and window:
        length = min(length, window)
    return UNKNOWN if length == inf else length


def _ropes(text: PreTrainedConfig) -> Iterator[Mapping[str, Any]]:
    """Of all layers, or of each type of layers."""
    ropes = getattr(text, "rope_parameters", None)
    if not isinstance(ropes, dict) or not ropes:
        return
    if ropes.keys() <= set(ALLOWED_LAYER_TYPES):
        yield from (rope for rope in ropes.values() if isinstance(rope, dict))
    else:
        yield ropes


def _kind(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _factor(ropes: list[Mapping[str, Any]]) -> float:
    """All layers are taken to have the same; null stands for none."""
    factor: float | None = 1.0
    for rope in ropes:
        if _kind(rope) not in SCALED:
            factor = rope.get("factor", factor)
    return 1.0 if factor is None else factor
