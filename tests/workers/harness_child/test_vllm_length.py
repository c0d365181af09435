"""The longest sequence of a model, by its configuration; `test_vllm_class.py` asks vLLM for the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from workers.harness_child.lm_eval.vllm_length import longest

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 400}
GROUPED = SIZES | {"num_key_value_heads": 2, "intermediate_size": 128}
LLAMA = GROUPED | {"model_type": "llama", "max_position_embeddings": 4096}
PHI = GROUPED | {
    "model_type": "phi3",
    "max_position_embeddings": 131072,
    "original_max_position_embeddings": 4096,
    "pad_token_id": 0,
}
LONG = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
WINDOW = GROUPED | {"model_type": "mistral", "max_position_embeddings": 32768, "sliding_window": 4096}


def scaled(kind: str, **more: Any) -> dict[str, Any]:
    return LLAMA | {"rope_scaling": {"rope_type": kind, **more}, "rope_theta": 10000.0}


CONFIGS: dict[str, tuple[dict[str, Any], int]] = {
    "llama": (LLAMA, 4096),
    "its default": (GROUPED | {"model_type": "llama"}, 2048),
    "linear": (scaled("linear", factor=4.0), 16384),
    "a fraction": (scaled("linear", factor=2.5), 10240),
    "dynamic": (scaled("dynamic", factor=2.0), 8192),
    "as it was called": (LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0}}, 8192),
    "as it is called": (
        LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        8192,
    ),
    "default": (scaled("default"), 4096),
    "llama3": (
        scaled(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=2048,
        ),
        4096,
    ),
    "yarn": (scaled("yarn", factor=4.0, original_max_position_embeddings=1024), 4096),
    "longrope": (PHI | {"rope_scaling": {"type": "longrope", **LONG}}, 4096),
    "longrope in llama": (scaled("longrope", factor=2.0, original_max_position_embeddings=512, **LONG), 4096),
    "phi3 alone": (PHI, 131072),
    "su": (PHI | {"rope_scaling": {"type": "su", "original_max_position_embeddings": 4096, **LONG}}, 4096),
    "mistral": (WINDOW, 32768),
    "window off": (WINDOW | {"disable_sliding_window": True}, 4096),
    "no window": (WINDOW | {"sliding_window": None, "disable_sliding_window": True}, 32768),
    "wide window": (WINDOW | {"sliding_window": 65536, "disable_sliding_window": True}, 32768),
    "qwen2": (
        GROUPED | {"model_type": "qwen2", "max_position_embeddings": 32768, "sliding_window": 1024},
        32768,
    ),
    "qwen3": (GROUPED | {"model_type": "qwen3", "max_position_embeddings": 40960}, 40960),
    "qwen3 yarn": (
        GROUPED
        | {
            "model_type": "qwen3",
            "max_position_embeddings": 40960,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
        },
        40960,
    ),
    "gpt2": ({"model_type": "gpt2", "n_positions": 1024, "n_embd": 64, "n_head": 4, "n_layer": 2}, 1024),
    "gpt2 with a shorter one": ({"model_type": "gpt2", "n_positions": 1024, "seq_length": 512}, 512),
    "opt": (SIZES | {"model_type": "opt", "max_position_embeddings": 2048, "ffn_dim": 128}, 2048),
    "mpt": ({"model_type": "mpt", "d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 1536}, 1536),
    "bloom": (SIZES | {"model_type": "bloom", "seq_length": 640}, 640),
    "bloom, which says nothing": (SIZES | {"model_type": "bloom"}, 2048),
    "gpt_neox": (SIZES | {"model_type": "gpt_neox", "max_position_embeddings": 768, "rotary_pct": 0.25}, 768),
    "falcon": (SIZES | {"model_type": "falcon", "max_position_embeddings": 2048, "alibi": False}, 2048),
    "gpt_bigcode": ({"model_type": "gpt_bigcode", "n_positions": 8192, "n_embd": 64, "n_head": 4}, 8192),
    "mamba": ({"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 2}, 2048),
    "cohere": (
        GROUPED | {"model_type": "cohere", "max_position_embeddings": 8192, "model_max_length": 131072},
        131072,
    ),
    "cohere, shorter": (
        GROUPED | {"model_type": "cohere", "max_position_embeddings": 8192, "model_max_length": 4000},
        4000,
    ),
    "dbrx": ({"model_type": "dbrx", "d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 900}, 900),
    "several names": (LLAMA | {"max_sequence_length": 900, "max_seq_length": 800, "seq_len": 700}, 700),
    "seq_len is null": (LLAMA | {"seq_len": None}, 4096),
    "gemma2": (
        GROUPED
        | {"model_type": "gemma2", "max_position_embeddings": 8192, "sliding_window": 4096, "head_dim": 16},
        8192,
    ),
    "gemma3 text": (
        GROUPED
        | {
            "model_type": "gemma3_text",
            "max_position_embeddings": 131072,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        131072,
    ),
    "gemma3": (
        {
            "model_type": "gemma3",
            "text_config": GROUPED
            | {
                "model_type": "gemma3_text",
                "max_position_embeddings": 4000,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
        },
        4000,
    ),
    "a text config": (
        {
            "model_type": "mistral3",
            "text_config": GROUPED | {"model_type": "mistral", "max_position_embeddings": 5000},
        },
        5000,
    ),
    "deepseek": (
        GROUPED
        | {
            "model_type": "deepseek_v3",
            "max_position_embeddings": 163840,
            "rope_scaling": {"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
        },
        163840,
    ),
    "mixtral": (GROUPED | {"model_type": "mixtral", "max_position_embeddings": 32768}, 32768),
    "olmo2": (GROUPED | {"model_type": "olmo2", "max_position_embeddings": 4096}, 4096),
    "overridden": (LLAMA | {"hf_overrides": {"max_position_embeddings": 1234}}, 1234),
    "overridden inside": (
        {
            "model_type": "mistral3",
            "text_config": GROUPED | {"model_type": "mistral", "max_position_embeddings": 5000},
            "hf_overrides": {"text_config": {"max_position_embeddings": 1111}},
        },
        1111,
    ),
}
ARGUMENTS = ("hf_overrides", "disable_sliding_window")


def args_of(config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ARGUMENTS if name in config}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("configs")
    for number, (config, _) in enumerate(CONFIGS.values()):
        (root / str(number)).mkdir()
        own = {name: value for name, value in config.items() if name not in ARGUMENTS}
        (root / str(number) / "config.json").write_text(json.dumps(own))
    return {name: root / str(number) for number, name in enumerate(CONFIGS)}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_models_length_is_read_off_its_configuration(folders: dict[str, Path], name: str) -> None:
    config, expected = CONFIGS[name]
    assert longest(AutoConfig.from_pretrained(folders[name]), args_of(config)) == expected
