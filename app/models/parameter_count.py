"""How many parameters a model has, from its `config.json` alone: arithmetic, for the families whose layers are known.

Tests hold it against what transformers builds, and against the published numbers of well-known models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.models.config_facts import facts_of, first, is_count, text_config


class ParameterCount(NamedTuple):
    """Parameters, and how many of them are matrices of layers, which quantization shrinks."""

    total: int
    quantizable: int


@dataclass(frozen=True)
class _Family:
    """How layers of one `model_type` differ from Llama's."""

    tied: bool = False
    """Where the configuration does not say."""
    norms: int = 2
    """Of the hidden size, in each layer."""
    biased: bool = False
    """Norms, attention and MLP all have biases."""
    attention_bias: bool = False
    """On queries, keys and values."""
    output_bias: bool = False
    query_norms: bool = False
    gated: bool = True
    learned_positions: int | None = None
    """Rows of a table of positions beyond those that the configuration names."""
    head_bias: bool = False
    sinks: bool = False
    experts_only: bool = False
    """Whether quantization leaves all but the experts as they are."""


_LLAMA = _Family()
_FAMILIES: Mapping[str, _Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "phi3": _LLAMA,
    "smollm3": _Family(tied=True),
    "gemma": _Family(tied=True),
    "gemma2": _Family(tied=True, norms=4),
    "gemma3": _Family(tied=True, norms=4, query_norms=True),
    "gemma3_text": _Family(tied=True, norms=4, query_norms=True),
    "qwen2": _Family(attention_bias=True),
    "qwen2_moe": _Family(attention_bias=True),
    "qwen3": _Family(query_norms=True),
    "qwen3_moe": _Family(query_norms=True),
    "deepseek_v2": _LLAMA,
    "deepseek_v3": _LLAMA,
    "gpt_oss": _Family(attention_bias=True, output_bias=True, sinks=True, experts_only=True),
    "gpt2": _Family(tied=True, biased=True, gated=False, learned_positions=0),
    "gpt_neox": _Family(biased=True, gated=False),
    "opt": _Family(tied=True, biased=True, gated=False, learned_positions=2),
    "phi": _Family(norms=1, biased=True, gated=False, head_bias=True),
}


def counted(config: Mapping[str, Any]) -> ParameterCount | None:
    """None for a family that is not known here, and where the configuration leaves out what is needed."""
    text = {"tie_word_embeddings": config.get("tie_word_embeddings"), **text_config(config)}
    family, shape = _FAMILIES.get(str(text.get("model_type"))), facts_of(text)
    needed = (
        "hidden_size",
        "num_layers",
        "num_attention_heads",
        "vocab_size",
        "intermediate_size",
        "head_dim",
    )
    if family is None or not all(is_count(shape[name]) for name in needed):
        return None
    count = _Layers(text, family, shape).count()
    return count if is_count(count.total) else None


def is_tied(config: Mapping[str, Any]) -> bool:
    """Whether one matrix of the vocabulary serves at both ends, as far as the configuration or its family tells."""
    said = config.get("tie_word_embeddings")
    family = _FAMILIES.get(str(text_config(config).get("model_type")), _LLAMA)
    return said if isinstance(said, bool) else family.tied


class _Layers:
    """The arithmetic of one model."""

    def __init__(self, config: Mapping[str, Any], family: _Family, shape: Mapping[str, Any]) -> None:
        self._config = config
        self._family = family
        self._hidden: int = shape["hidden_size"]
        self._layers: int = shape["num_layers"]
        self._heads: int = shape["num_attention_heads"]
        self._shared: int = shape["num_key_value_heads"] or self._heads
        self._head: int = shape["head_dim"]
        self._vocab: int = shape["vocab_size"]
        self._wide: int = shape["intermediate_size"]
        self._experts: int = shape["num_experts"] or 0

    def count(self) -> ParameterCount:
        sparse = self._sparse_layers()
        attention = self._layers * self._attention()
        dense = (self._layers - sparse) * self._mlp(self._wide)
        experts = sparse * self._expert_matrices()
        matrices = experts if self._family.experts_only else attention + dense + experts
        rest = self._layers * self._vectors() + sparse * self._routing() + self._outside()
        return ParameterCount(attention + dense + experts + rest, matrices)

    def _number(self, name: str) -> int:
        return first(self._config, (name,)) or 0

    def _is_on(self, name: str, default: bool = False) -> bool:
        value = self._config.get(name)
        return value if isinstance(value, bool) else default

    def _sparse_layers(self) -> int:
        """Layers whose MLP is a choice of experts."""
        if not self._experts:
            return 0
        dense = self._config.get("mlp_only_layers")
        spared = self._number("first_k_dense_replace") + (len(dense) if isinstance(dense, list) else 0)
        return max(0, self._layers - spared) // (self._number("decoder_sparse_step") or 1)

    def _attention(self) -> int:
        hidden, heads = self._hidden, self._heads
        if latent := self._number("kv_lora_rank"):
            return self._latent_attention(latent)
        return 2 * hidden * heads * self._head + 2 * hidden * self._shared * self._head

    def _latent_attention(self, latent: int) -> int:
        """DeepSeek's: keys and values of all heads are unpacked from one narrow vector."""
        plain, turned = self._number("qk_nope_head_dim"), self._number("qk_rope_head_dim")
        value, narrow = self._number("v_head_dim"), self._number("q_lora_rank")
        query = self._heads * (plain + turned)
        asking = (self._hidden + query) * narrow if narrow else self._hidden * query
        unpacked = latent * self._heads * (plain + value)
        return asking + self._hidden * (latent + turned) + unpacked + self._heads * value * self._hidden

    def _mlp(self, width: int) -> int:
        return (3 if self._family.gated else 2) * self._hidden * width

    def _expert_matrices(self) -> int:
        each = self._number("moe_intermediate_size") or self._wide
        shared = self._number("shared_expert_intermediate_size") or self._number("n_shared_experts") * each
        return self._experts * self._mlp(each) + self._mlp(shared)

    def _routing(self) -> int:
        """Which experts are asked, and what they add."""
        routes = self._hidden * self._experts
        if self._number("shared_expert_intermediate_size"):
            routes += self._hidden
        if self._family.experts_only:
            routes += self._experts * (1 + 2 * self._wide + self._hidden)
        return routes

    def _vectors(self) -> int:
        """Norms and biases of one layer."""
        family, hidden, query, shared = (
            self._family,
            self._hidden,
            self._heads * self._head,
            self._shared * self._head,
        )
        count = family.norms * hidden * (2 if family.biased else 1)
        if family.biased:
            count += query + 2 * shared + hidden + self._wide + hidden
        if self._is_on("attention_bias", family.attention_bias) and not family.biased:
            count += query + 2 * shared + (hidden if self._has_output_bias else 0)
        if self._is_on("mlp_bias") and not family.biased:
            count += 2 * self._wide + hidden
        count += 2 * self._head if family.query_norms else 0
        count += self._heads if family.sinks else 0
        return count + self._number("kv_lora_rank") + self._number("q_lora_rank")

    @property
    def _has_output_bias(self) -> bool:
        return self._family.output_bias or self._is_on("attention_bias")

    def _outside(self) -> int:
        """Vocabulary, positions, and the last norm."""
        family = self._family
        words = self._vocab * self._hidden
        tied = self._is_on("tie_word_embeddings", family.tied)
        count = words + (0 if tied else words) + self._hidden * (2 if family.biased else 1)
        if family.head_bias:
            count += self._vocab
        if family.learned_positions is not None:
            rows = first(self._config, ("n_positions", "max_position_embeddings")) or 0
            count += (rows + family.learned_positions) * self._hidden
        return count
