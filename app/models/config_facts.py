"""What a model's `config.json` says of its shape: under any of the names that architectures have used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_OF_ANYTHING = 2**53
"""Bytes, parameters, layers: what a file says beyond this is no model's, and no arithmetic is done with it."""

LENGTH_NAMES = ("n_positions", "max_position_embeddings", "n_ctx")
_INTERMEDIATE = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_HEARING = ("thinker_config",)
_TEXT = ("text_config", "llm_config", "language_config")
"""Where models that also see or hear keep what they say of the language model: the latter may stand in the former."""
_STRETCHING = ("rope_scaling", "rope_parameters")
_BITS = ("bits", "w_bit", "num_bits", "weight_bits")
MOST_BITS = 16
MOST_NAME = 80
"""Letters of a name that a file says; all that are known have fewer."""
_EVERY_SO_MANY = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gpt_oss": 2, "cohere2": 4}
"""One layer of so many has no window, where a configuration does not say which."""


def facts_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `ModelFacts`, but for the longest input: a tokenizer has a say in that."""
    text = text_config(config)
    heads = first(text, ("num_attention_heads", "n_head", "num_heads", "n_heads"))
    hidden = first(text, ("hidden_size", "n_embd", "d_model", "dim"))
    layers = first(text, ("num_hidden_layers", "n_layer", "num_layers", "n_layers"))
    window = None if text.get("use_sliding_window") is False else first(text, ("sliding_window",))
    return {
        "config_names": frozenset(config),
        "architecture": _model_class(config) or _model_type(config),
        "model_class": _model_class(config),
        "own_code": bool(config.get("auto_map")),
        "made_for": _made_for(text),
        "num_attention_heads": heads,
        "num_key_value_heads": _key_value_heads(text, heads),
        "num_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": first(text, _INTERMEDIATE) or (4 * hidden if hidden else None),
        "head_dim": first(text, ("head_dim",)) or (hidden // heads if hidden and heads else None),
        "vocab_size": first(text, ("vocab_size", "padded_vocab_size")),
        "sliding_window": window,
        "windowed_layers": _windowed(text, layers) if window and layers else None,
        "num_experts": first(text, _EXPERTS),
        "latent_width": _latent_width(text),
        "dtype": _dtype(text) or _dtype(config),
        "quantization": quantization(config.get("quantization_config") or text.get("quantization_config")),
    }


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that tells of the language model: the whole, unless the model also sees or hears."""
    for names in (_HEARING, _TEXT):
        config = next((part for name in names if isinstance(part := config.get(name), dict) and part), config)
    return config


def first(config: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """What the first of these names says that says a number of things."""
    return next((config[name] for name in names if is_count(config.get(name))), None)


def is_count(value: object) -> bool:
    """A number of things that a model can have; any other is as good as not said."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_OF_ANYTHING


def _model_class(config: Mapping[str, Any]) -> str | None:
    named = config.get("architectures")
    return _name(named[0]) if isinstance(named, list) and named else None


def _model_type(config: Mapping[str, Any]) -> str | None:
    return _name(config.get("model_type"))


def _name(value: object) -> str | None:
    """A word that can be shown; None for anything else."""
    return value[:MOST_NAME] if isinstance(value, str) and value and value.isprintable() else None


def _made_for(config: Mapping[str, Any]) -> int | None:
    ropes = (config.get(name) for name in _STRETCHING)
    stretched = any(isinstance(rope, dict) and "factor" in rope for rope in ropes)
    return None if stretched else first(config, ("max_position_embeddings",))


def _key_value_heads(config: Mapping[str, Any], heads: int | None) -> int | None:
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        return 1
    return first(config, ("num_key_value_heads", "num_kv_heads", "n_head_kv")) or heads


def _windowed(config: Mapping[str, Any], layers: int) -> int:
    """Layers with the window: those that are listed, all but every so many, or all."""
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return min(layers, kinds.count("sliding_attention"))
    usual = _EVERY_SO_MANY.get(str(config.get("model_type")), 0)
    pattern = first(config, ("sliding_window_pattern", "_sliding_window_pattern")) or usual
    return layers - layers // pattern if pattern else layers


def _latent_width(config: Mapping[str, Any]) -> int | None:
    latent = first(config, ("kv_lora_rank",))
    return latent + (first(config, ("qk_rope_head_dim",)) or 0) if latent else None


def _dtype(config: Mapping[str, Any]) -> str | None:
    dtype = config.get("dtype") or config.get("torch_dtype")
    return _name(dtype.removeprefix("torch.")) if isinstance(dtype, str) else None


def quantization(config: object) -> str | None:
    """Such as `gptq 4-bit`; None for full weights."""
    if not isinstance(config, dict):
        return None
    method = _name(config.get("quant_method")) or "quantized"
    bits = _bits(config)
    return f"{method} {bits}-bit" if bits else method


def _bits(config: Mapping[str, Any]) -> int | None:
    """Of a weight, under the names of those who quantize; compressed-tensors tells it by groups of layers."""
    groups = config.get("config_groups")
    parts = [part for part in groups.values() if isinstance(part, dict)] if isinstance(groups, dict) else []
    weights = [part["weights"] for part in parts if isinstance(part.get("weights"), dict)]
    said = first(config, _BITS) or max((first(part, _BITS) or 0 for part in weights), default=0)
    if 0 < said <= MOST_BITS:
        return said
    return 8 if config.get("load_in_8bit") else 4 if config.get("load_in_4bit") else None
