"""What is known of a model before it is loaded, wherever it was found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import FaultyField

DEFAULT_MAX_LENGTH = 2048
"""lm_eval/defaults.py."""


@dataclass(frozen=True)
class ModelFacts:
    """A model as its files, a table or its user describe it; None where they do not say."""

    path: Path | None = None
    architecture: str | None = None
    model_class: str | None = None
    """Which loads it, as its configuration names it; the architecture may be known without."""
    own_code: bool = False
    """Whether it brings code of its own to be loaded with."""
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    num_layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    """Of a dense layer."""
    head_dim: int | None = None
    vocab_size: int | None = None
    max_positions: int | None = None
    made_for: int | None = None
    """Tokens that its positions reach, where nothing stretches them."""
    sliding_window: int | None = None
    windowed_layers: int | None = None
    """Layers that keep no more than the window in their cache."""
    num_experts: int | None = None
    latent_width: int | None = None
    """Numbers of cache a layer keeps for a token, where attention is latent (MLA): all heads share them."""
    dtype: str | None = None
    quantization: str | None = None
    """Such as `gptq 4-bit`; None for full weights."""
    parameters: int | None = None
    quantizable: int | None = None
    """Parameters that quantization shrinks: the matrices of the layers, not the vocabulary's."""
    weight_bytes: int | None = None
    """As stored."""
    bytes_by_dtype: Mapping[str, int] = field(default_factory=dict)
    """The same, by safetensors' names of types."""
    config_names: frozenset[str] = frozenset()
    """What its configuration says anything of."""
    source: str = ""
    """Where the size comes from, in words."""
    faults: tuple[FaultyField, ...] = ()
