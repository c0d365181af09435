import struct
from pathlib import Path
from typing import Any

import pytest

from app.models.model_folder import inspect_model, is_local, within
from tests.models.folders import LLAMA, messages, write_json, write_weights


def test_a_folder_tells_its_shape_and_size(folder: Path) -> None:
    facts = inspect_model(folder)
    assert facts.faults == ()
    assert facts.architecture == "LlamaForCausalLM"
    assert (facts.num_attention_heads, facts.num_key_value_heads, facts.num_layers) == (9, 3, 30)
    assert (facts.hidden_size, facts.head_dim, facts.vocab_size) == (576, 64, 49152)
    assert (facts.max_positions, facts.dtype, facts.quantization) == (8192, "bfloat16", None)
    assert (facts.parameters, facts.weight_bytes) == (220, 440)


def test_all_files_of_an_index_count_and_no_other(folder: Path) -> None:
    write_weights(folder / "part-1.safetensors", a=[10, 10])
    write_weights(folder / "part-2.safetensors", b=[1, 1])
    write_json(
        folder / "model.safetensors.index.json",
        {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}},
    )
    assert inspect_model(folder).parameters == 101


def test_a_missing_part_is_a_fault(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "part-2.safetensors"}}
    write_json(folder / "model.safetensors.index.json", index)
    assert messages(folder) == ["1 of 2 weight files are missing, such as part-2.safetensors"]


def test_an_index_cannot_lead_out_of_the_folder(folder: Path) -> None:
    write_json(
        folder / "model.safetensors.index.json", {"weight_map": {"a": "../other/x.safetensors", "b": 3}}
    )
    assert messages(folder) == [
        "model.safetensors.index.json names what is no file of the folder, or nothing"
    ]


def test_older_weights_are_measured_by_their_size(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x" * 64)
    facts = inspect_model(folder)
    assert (facts.faults, facts.parameters, facts.weight_bytes) == ((), None, 64)


@pytest.mark.parametrize(
    ("config", "tokenizer", "expected"),
    [
        ({"n_positions": 1024, "max_position_embeddings": 7}, {}, 1024),
        ({"n_ctx": 512}, {}, 512),
        ({"max_position_embeddings": 1200, "text_config": {"max_position_embeddings": 32768}}, {}, 32768),
        ({}, {"model_max_length": 4096}, 4096),
        ({}, {"model_max_length": 1000000000000000019884624838656}, 2048),
        ({}, {}, 2048),
    ],
)
def test_the_longest_input_is_found_in_lm_evals_order(
    folder: Path, config: dict[str, Any], tokenizer: dict[str, Any], expected: int
) -> None:
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", tokenizer)
    assert inspect_model(folder).max_positions == expected


def test_older_names_of_a_configuration_are_known(folder: Path) -> None:
    write_json(
        folder / "config.json",
        {"model_type": "gpt2", "n_head": 12, "n_layer": 6, "n_embd": 768, "torch_dtype": "float32"},
    )
    facts = inspect_model(folder)
    assert (facts.architecture, facts.num_key_value_heads, facts.head_dim, facts.dtype) == (
        "gpt2",
        12,
        64,
        "float32",
    )


def test_quantization_is_named(folder: Path) -> None:
    write_json(folder / "config.json", LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    assert inspect_model(folder).quantization == "gptq 4-bit"


def test_a_missing_folder_is_a_fault(tmp_path: Path) -> None:
    (fault,) = inspect_model(tmp_path / "nowhere").faults
    assert fault.path == "model_args.pretrained"
    assert "does not exist" in fault.message


def test_an_empty_folder_lacks_configuration_and_weights(tmp_path: Path) -> None:
    assert len(messages(tmp_path)) == 2


def test_git_lfs_pointers_are_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    assert "`git lfs pull`" in messages(folder)[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 50) + b"{",
        struct.pack("<Q", 1 << 60),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a":{}}',
    ],
)
def test_a_broken_weight_file_is_a_fault(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert "is no safetensors file" in messages(folder)[0]


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_broken_configuration_is_a_fault(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert messages(folder)[0].startswith("config.json ")


def test_a_model_of_one_file_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "model.nemo").write_bytes(b"x" * 10)
    facts = inspect_model(tmp_path / "model.nemo")
    assert (facts.faults, facts.weight_bytes) == ((), 10)


@pytest.mark.parametrize("name", ["/models/x", "./x", "../x", "~/x", "models/a/b", "x.nemo"])
def test_a_path_is_local(name: str) -> None:
    assert is_local(name)


@pytest.mark.parametrize("name", ["gpt2", "EleutherAI/pythia-1.4b"])
def test_a_repository_id_is_not_local(name: str) -> None:
    assert not is_local(name)


def test_roots_are_checked_after_links_and_dots(tmp_path: Path) -> None:
    root = tmp_path / "models"
    (root / "a").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    assert within(root / "a", [tmp_path / "other", root])
    assert within(root / "a" / ".." / "a", [root])
    assert not within(root / "link", [root])
    assert not within(root / ".." / "secret", [root])
    assert not within(tmp_path / "models-2", [root])
    assert not within(root / "a", [])
