import json
import struct
from pathlib import Path
from typing import Any

import pytest

from app.domain.heads import head_faults
from app.domain.memory import MemoryTerms, memory_of
from app.models.model_folder import inspect_model, is_local, within

_LLAMA = {
    "architectures": ["LlamaForCausalLM"], "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576,
    "num_hidden_layers": 30, "vocab_size": 49152, "max_position_embeddings": 8192, "dtype": "bfloat16",
}  # fmt: skip


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))


def _write_weights(path: Path, **shapes: list[int]) -> None:
    """A safetensors file of bfloat16 zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write_json(tmp_path / "config.json", _LLAMA)
    _write_weights(tmp_path / "model.safetensors", a=[10, 20], b=[5, 4])
    return tmp_path


def _messages(folder: Path) -> list[str]:
    return [fault.message for fault in inspect_model(folder).faults]


def test_a_folder_tells_its_shape_and_size(folder: Path) -> None:
    facts = inspect_model(folder)
    assert facts.faults == ()
    assert facts.architecture == "LlamaForCausalLM"
    assert (facts.num_attention_heads, facts.num_key_value_heads, facts.num_layers) == (9, 3, 30)
    assert (facts.hidden_size, facts.head_dim, facts.vocab_size) == (576, 64, 49152)
    assert (facts.max_positions, facts.dtype, facts.quantization) == (8192, "bfloat16", None)
    assert (facts.parameters, facts.weight_bytes) == (220, 440)


def test_all_files_of_an_index_count_and_no_other(folder: Path) -> None:
    _write_weights(folder / "part-1.safetensors", a=[10, 10])
    _write_weights(folder / "part-2.safetensors", b=[1, 1])
    _write_json(
        folder / "model.safetensors.index.json",
        {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}},
    )
    assert inspect_model(folder).parameters == 101


def test_a_missing_part_is_a_fault(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "part-2.safetensors"}}
    _write_json(folder / "model.safetensors.index.json", index)
    assert _messages(folder) == ["1 of 2 weight files are missing, such as part-2.safetensors"]


def test_an_index_cannot_lead_out_of_the_folder(folder: Path) -> None:
    _write_json(
        folder / "model.safetensors.index.json", {"weight_map": {"a": "../other/x.safetensors", "b": 3}}
    )
    assert "no weights" in _messages(folder)[0]


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
    _write_json(folder / "config.json", config)
    _write_json(folder / "tokenizer_config.json", tokenizer)
    assert inspect_model(folder).max_positions == expected


def test_older_names_of_a_configuration_are_known(folder: Path) -> None:
    _write_json(
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
    _write_json(folder / "config.json", _LLAMA | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    assert inspect_model(folder).quantization == "gptq 4-bit"


def test_a_missing_folder_is_a_fault(tmp_path: Path) -> None:
    (fault,) = inspect_model(tmp_path / "nowhere").faults
    assert fault.path == "model_args.pretrained"
    assert "does not exist" in fault.message


def test_an_empty_folder_lacks_configuration_and_weights(tmp_path: Path) -> None:
    assert len(_messages(tmp_path)) == 2


def test_git_lfs_pointers_are_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    assert "`git lfs pull`" in _messages(folder)[0]


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
    assert "is no safetensors file" in _messages(folder)[0]


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_broken_configuration_is_a_fault(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert _messages(folder)[0].startswith("config.json ")


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


ODD = [None, 0, -1, True, 1.5, "x", [], {}, [1], {"a": 1}, 10**400, -(10**400), float("inf"), float("nan")]
_SAID = (
    *_LLAMA,
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
            _write_json(folder / "config.json", {**_LLAMA, **family, name: value})
            _judged(folder)
    _write_json(folder / "config.json", {k: v for k, v in _LLAMA.items() if k != "max_position_embeddings"})
    _write_json(folder / "tokenizer_config.json", {"model_max_length": value})
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
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    found = _messages(folder)
    assert all(message.startswith("model.safetensors is no safetensors file") for message in found)
    _judged(folder)


def test_what_is_stored_is_told_by_type(folder: Path) -> None:
    facts = inspect_model(folder)
    assert facts.bytes_by_dtype == {"BF16": 440}
    assert facts.source == "the headers of its safetensors files"


def test_a_matrix_that_is_tied_counts_once(folder: Path) -> None:
    _write_json(folder / "config.json", _LLAMA | {"tie_word_embeddings": True})
    _write_weights(
        folder / "model.safetensors", **{"model.embed_tokens.weight": [9, 9], "lm_head.weight": [9, 9]}
    )
    assert inspect_model(folder).parameters == 81
    _write_json(folder / "config.json", _LLAMA)
    assert inspect_model(folder).parameters == 162


def test_packed_weights_are_counted_from_the_configuration(folder: Path) -> None:
    counts = {"model_type": "llama", "intermediate_size": 1536, "tie_word_embeddings": True}
    _write_json(folder / "config.json", _LLAMA | counts)
    text = json.dumps({"w": {"dtype": "I32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    facts = inspect_model(folder)
    assert (facts.parameters, facts.weight_bytes) == (134_515_008, 16)


def test_a_shape_of_experts_and_of_latent_attention_is_read(folder: Path) -> None:
    more = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "n_routed_experts": 64, "intermediate_size": 10_944}
    _write_json(folder / "config.json", _LLAMA | more | {"sliding_window": 4096})
    facts = inspect_model(folder)
    assert (facts.latent_width, facts.num_experts, facts.intermediate_size) == (576, 64, 10_944)
    assert facts.sliding_window == 4096
    _write_json(folder / "config.json", _LLAMA | {"sliding_window": 4096, "use_sliding_window": False})
    assert inspect_model(folder).sliding_window is None


def test_nesting_without_end_is_a_fault(folder: Path) -> None:
    deep = "[" * 100_000
    (folder / "config.json").write_text(deep)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep.encode())
    assert len(_messages(folder)) == 2
