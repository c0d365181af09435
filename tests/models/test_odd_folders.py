"""Folders of models as nobody should make them: what is in them is a fault, and takes no time."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from app.domain.heads import head_faults
from app.domain.memory import MemoryTerms, memory_of
from app.models.model_folder import inspect_model
from tests.models.folders import LLAMA, messages, write_json, write_weights

ODD = [None, 0, -1, True, 1.5, "x", [], {}, [1], {"a": 1}, 10**400, -(10**400), float("inf"), float("nan")]
_SAID = (
    *LLAMA,
    "model_type",
    "text_config",
    "quantization_config",
    "torch_dtype",
    "head_dim",
    "multi_query",
    "tie_word_embeddings",
    "intermediate_size",
    "kv_lora_rank",
    "mlp_only_layers",
    "sliding_window",
)


def _judged(folder: Path) -> None:
    """What is done with a model's files when a job is posted."""
    facts = inspect_model(folder)
    if not facts.faults:
        for width in (1, 2):
            memory_of(facts, MemoryTerms(), width)
            memory_of(facts, MemoryTerms(serves=True), width)
            head_faults(facts, width)


@pytest.mark.parametrize("value", ODD, ids=str)
def test_no_value_of_a_models_files_is_more_than_a_fault(folder: Path, value: object) -> None:
    for name in _SAID:
        for family in ({}, {"model_type": "deepseek_v3"}):
            write_json(folder / "config.json", {**LLAMA, **family, name: value})
            _judged(folder)
    write_json(folder / "config.json", {k: v for k, v in LLAMA.items() if k != "max_position_embeddings"})
    write_json(folder / "tokenizer_config.json", {"model_max_length": value})
    _judged(folder)


@pytest.mark.parametrize("value", [odd for odd in ODD if odd != 0], ids=str)
@pytest.mark.parametrize("place", ["shape", "side", "data_offsets", "begin", "end"])
def test_a_tensor_of_an_impossible_size_is_a_fault(folder: Path, place: str, value: object) -> None:
    sizes = {
        "shape": (value, [0, 64]),
        "side": ([value], [0, 64]),
        "data_offsets": ([4, 8], value),
        "begin": ([4, 8], [value, 64]),
        "end": ([4, 8], [0, value]),
    }
    shape, offsets = sizes[place]
    text = json.dumps({"w": {"dtype": "BF16", "shape": shape, "data_offsets": offsets}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    found = messages(folder)
    assert all(message.startswith("model.safetensors is no safetensors file") for message in found)
    _judged(folder)


def test_what_is_stored_is_told_by_type(folder: Path) -> None:
    facts = inspect_model(folder)
    assert facts.bytes_by_dtype == {"BF16": 440}
    assert facts.source == "the headers of its safetensors files"


def test_a_matrix_that_is_tied_counts_once(folder: Path) -> None:
    write_json(folder / "config.json", LLAMA | {"tie_word_embeddings": True})
    write_weights(
        folder / "model.safetensors", **{"model.embed_tokens.weight": [9, 9], "lm_head.weight": [9, 9]}
    )
    assert inspect_model(folder).parameters == 81
    write_json(folder / "config.json", LLAMA)
    assert inspect_model(folder).parameters == 162


def test_packed_weights_are_counted_from_the_configuration(folder: Path) -> None:
    counts = {"model_type": "llama", "intermediate_size": 1536, "tie_word_embeddings": True}
    write_json(folder / "config.json", LLAMA | counts)
    text = json.dumps({"w": {"dtype": "I32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    facts = inspect_model(folder)
    assert (facts.parameters, facts.weight_bytes) == (134_515_008, 16)


def test_a_shape_of_experts_and_of_latent_attention_is_read(folder: Path) -> None:
    more = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "n_routed_experts": 64, "intermediate_size": 10_944}
    write_json(folder / "config.json", LLAMA | more | {"sliding_window": 4096})
    facts = inspect_model(folder)
    assert (facts.latent_width, facts.num_experts, facts.intermediate_size) == (576, 64, 10_944)
    assert facts.sliding_window == 4096
    write_json(folder / "config.json", LLAMA | {"sliding_window": 4096, "use_sliding_window": False})
    assert inspect_model(folder).sliding_window is None


def test_nesting_without_end_is_a_fault(folder: Path) -> None:
    deep = "[" * 100_000
    (folder / "config.json").write_text(deep)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep.encode())
    assert len(messages(folder)) == 2


@pytest.mark.parametrize("name", ["text_config", "llm_config", "language_config", "thinker_config"])
def test_the_language_model_of_one_that_sees_is_described(folder: Path, name: str) -> None:
    inner = {"num_hidden_layers": 7, "max_position_embeddings": 77}
    nested = {"text_config": inner} if name == "thinker_config" else inner
    write_json(folder / "config.json", {"architectures": ["SeesToo"], "dtype": "float16", name: nested})
    facts = inspect_model(folder)
    assert (facts.num_layers, facts.max_positions, facts.dtype) == (7, 77, "float16")
    assert (facts.model_class, facts.made_for) == ("SeesToo", 77)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}},
         "compressed-tensors 4-bit"),
        ({"quant_method": "awq", "w_bit": 4}, "awq 4-bit"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes 4-bit"),
        ({"quant_method": "exl2", "bits": 4.65}, "exl2"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "gptq", "bits": 4096}, "gptq"),
        ({"quant_method": ["gptq"], "bits": {"a": 1}}, "quantized"),
        ({"config_groups": [1], "bits": True}, "quantized"),
        ({"quant_method": "x" * 10**6}, "x" * 80),
    ],
)  # fmt: skip
def test_bits_are_found_where_those_who_quantize_write_them(
    folder: Path, said: dict[str, Any], named: str
) -> None:
    write_json(folder / "config.json", LLAMA | {"quantization_config": said})
    assert inspect_model(folder).quantization == named


def test_what_stretches_the_length_is_seen(folder: Path) -> None:
    write_json(folder / "config.json", LLAMA | {"rope_scaling": {"factor": 4.0}})
    assert (inspect_model(folder).made_for, inspect_model(folder).max_positions) == (None, 8192)


def test_weights_that_were_cut_off_are_a_fault(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    assert messages(folder) == ["model.safetensors was cut off: it has 439 of 440 bytes behind its header"]


def test_a_sparse_terabyte_is_judged_by_its_header(folder: Path) -> None:
    write_weights(folder / "model.safetensors", a=[10, 20])
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(10**12)
    (message,) = messages(folder)
    assert message.endswith("bytes behind its header, which tells of 400")


def test_a_name_twice_in_a_header_counts_once(folder: Path) -> None:
    tensor = '"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}'
    text = f"{{{tensor}, {tensor}}}".encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    assert inspect_model(folder).weight_bytes == 4


def test_a_configuration_larger_than_any_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(50_000_000)
    assert messages(folder) == ["config.json has more than 10,000,000 bytes, which no such file has"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_what_is_no_file_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    inspect_model(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(name)
    inspect_model(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    inspect_model(folder)


@pytest.mark.parametrize("word", ["\ud800", "a\nb", "\x1b[31m"])
def test_words_that_cannot_be_shown_are_none(tmp_path: Path, word: str) -> None:
    config = {"torch_dtype": word, "model_type": word, "architectures": [word]}
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": word}})
    )
    facts = inspect_model(tmp_path)
    assert (facts.dtype, facts.architecture, facts.quantization) == (None, None, "quantized")
