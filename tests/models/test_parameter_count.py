"""The arithmetic of parameters, against the models that transformers builds from the same configurations."""

from __future__ import annotations

from typing import Any

import pytest

from app.models.parameter_count import counted

_SMALL = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "vocab_size": 1000,
}  # fmt: skip
_WIDE_HEADS = {**_SMALL, "head_dim": 32}
_LATENT = {
    **_SMALL, "num_key_value_heads": 4, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
    "v_head_dim": 16, "n_routed_experts": 8, "n_shared_experts": 2, "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
}  # fmt: skip
_OWN_NAMES = {"n_embd": 64, "n_layer": 4, "n_head": 4, "vocab_size": 1000, "n_positions": 128}


@pytest.mark.parametrize(
    ("family", "config", "parameters"),
    [
        ("llama", _WIDE_HEADS, 300_608),
        ("llama", _SMALL | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, 189_248),
        ("mistral", _SMALL, 251_456),
        ("mixtral", _SMALL | {"num_local_experts": 8}, 769_600),
        ("phi3", _SMALL, 251_456),
        ("smollm3", _SMALL, 187_456),
        ("gemma", _WIDE_HEADS, 236_608),
        ("gemma2", _WIDE_HEADS, 237_120),
        ("gemma3_text", _WIDE_HEADS, 237_376),
        ("qwen2", _SMALL, 251_968),
        (
            "qwen2_moe",
            _SMALL | {"num_experts": 60, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632},
            69_399_872,
        ),
        ("qwen3", _WIDE_HEADS, 300_864),
        ("qwen3_moe", _WIDE_HEADS | {"num_experts": 128, "moe_intermediate_size": 768}, 75_757_376),
        ("gpt_oss", _WIDE_HEADS | {"num_local_experts": 128}, 9_829_712),
        ("phi", _SMALL, 229_352),
        ("gpt_neox", _SMALL | {"num_key_value_heads": None}, 245_504),
        ("gpt2", _OWN_NAMES, 272_256),
        ("opt", _SMALL | {"ffn_dim": 96, "num_key_value_heads": None, "max_position_embeddings": 2048}, 312_704),
        ("deepseek_v2", _LATENT, 400_576),
        ("deepseek_v3", _LATENT | {"q_lora_rank": 24}, 391_456),
    ],
)  # fmt: skip
def test_a_family_is_counted_as_transformers_builds_it(
    family: str, config: dict[str, Any], parameters: int
) -> None:
    count = counted({"model_type": family, **config})
    assert count is not None
    assert count.total == parameters
    assert 0 < count.quantizable < parameters


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "mamba", **_SMALL},
        {"model_type": "llama", **_SMALL, "vocab_size": None},
        {"model_type": "llama", **_SMALL, "hidden_size": 2**52},
        {"model_type": [], **_SMALL},
    ],
)
def test_what_cannot_be_counted_is_not_guessed(config: dict[str, Any]) -> None:
    assert counted(config) is None


def test_the_language_model_of_one_that_sees_is_counted() -> None:
    text = {"model_type": "gemma3_text", **_WIDE_HEADS}
    assert counted({"model_type": "gemma3", "text_config": text}) == counted(text)
