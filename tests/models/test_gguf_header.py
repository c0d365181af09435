"""What a GGUF file says of its model, and that no file, however odd, does more than be refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.models.gguf_header import read_header
from app.models.model_folder import inspect_gguf
from tests.models.gguf_bytes import F32, LLAMA, TENSORS, gguf_bytes, text

WHOLE = gguf_bytes(LLAMA, TENSORS)
TENSOR_BYTES = 10 * 2 * 34 + 64 * 4


def fault(path: Path) -> str:
    (found,) = inspect_gguf(path).faults
    assert found.path == "model_args.gguf_file"
    return found.message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_a_file_says_what_memory_and_parallelism_need(file: Path) -> None:
    file.write_bytes(WHOLE)
    facts = inspect_gguf(file)
    assert facts.faults == ()
    assert (facts.architecture, facts.parameters, facts.weight_bytes) == ("llama", 64 * 11, len(WHOLE))
    assert (facts.num_attention_heads, facts.num_key_value_heads, facts.head_dim) == (32, 8, 64)
    assert (facts.num_layers, facts.hidden_size, facts.max_positions) == (16, 2048, 8192)
    assert facts.vocab_size == 3


def test_a_file_that_was_cut_off_anywhere_is_refused(file: Path) -> None:
    header = len(WHOLE) - TENSOR_BYTES
    for length in (4, 8, 23, 24, 100, header - 32, header, len(WHOLE) - 1):
        file.write_bytes(WHOLE[:length])
        assert "was cut off" in fault(file), length


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no GGUF file"),
        (b"GGU", "is no GGUF file"),
        (b"PK\x03\x04" + bytes(100), "is no GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (gguf_bytes(LLAMA, TENSORS, version=1), "of version 1"),
        (gguf_bytes({"a": 1}, {}), "does not say its architecture"),
        (gguf_bytes(LLAMA | {"split.count": 3}, TENSORS), "one of 3 parts"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "a larger header than any model has"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "a larger header than any model has"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "a larger header than any model has"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 99), "the unknown type 99"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 4, 2**62),
            "a larger header than any model has",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 9, 1),
            "the unknown type 9",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("a") + struct.pack("<I", 2**31),
            "a tensor of 2147483648 dimensions",
        ),
    ],
)
def test_what_is_no_file_to_load_is_named(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    assert says in fault(file)


def test_a_file_that_is_not_there_is_said_with_those_that_are(file: Path) -> None:
    for name in ("b", "a"):
        (file.parent / f"{name}.gguf").touch()
    (found,) = inspect_gguf(file).faults
    assert found.message == f"there is no file model.gguf in {file.parent}"
    assert found.allowed == ("a.gguf", "b.gguf")
    assert "there is no file" in fault(file.parent / ("x" * 50) / "model.gguf")
    assert "cannot be read" in fault(file.parent / ("x" * 5000))


@given(
    at=st.integers(4, len(WHOLE) - TENSOR_BYTES - 1),
    put=st.binary(min_size=1, max_size=12),
    keep=st.booleans(),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_of_any_kind_are_read_or_refused(file: Path, at: int, put: bytes, keep: bool) -> None:
    file.write_bytes(WHOLE[:at] + put + (WHOLE[at + len(put) :] if keep else b""))
    facts = inspect_gguf(file)
    assert facts.faults or facts.parameters is not None


def test_tensors_of_no_known_type_are_counted_all_the_same(file: Path) -> None:
    file.write_bytes(
        gguf_bytes(LLAMA, {"a": ([3, 5], F32)}).replace(
            struct.pack("<QIQ", 5, F32, 0), struct.pack("<QIQ", 5, 77, 0)
        )
    )
    assert read_header(file).parameters == 15
