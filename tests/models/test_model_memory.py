from pathlib import Path

import pytest

from app.domain.model_facts import ModelFacts
from app.models.model_memory import head_faults, memory_per_gpu_gib

_LLAMA_70B = ModelFacts(
    Path("x"), num_attention_heads=64, num_key_value_heads=8, num_layers=80, hidden_size=8192, head_dim=128,
    max_positions=4096, dtype="float16", parameters=70_000_000_000, weight_bytes=140_000_000_000,
)  # fmt: skip
_SMOL = ModelFacts(Path("x"), num_attention_heads=9, num_key_value_heads=3)


@pytest.mark.parametrize("tp", [1, 2, 4, 8, 16])
def test_heads_that_can_be_shared_out_are_fine(tp: int) -> None:
    assert head_faults(_LLAMA_70B, tp) == []


def test_heads_that_cannot_be_shared_out_are_refused_with_what_can() -> None:
    (fault,) = head_faults(_SMOL, 2)
    assert fault.message == "9 attention heads cannot be shared out to 2 GPUs"
    assert fault.allowed == ("1", "3", "9")


def test_key_value_heads_count_too() -> None:
    (fault,) = head_faults(ModelFacts(Path("x"), num_attention_heads=12, num_key_value_heads=4), 6)
    assert fault.message == "4 key-value heads cannot be shared out to 6 GPUs"


def test_unknown_heads_are_not_judged() -> None:
    assert head_faults(ModelFacts(Path("x")), 3) == []


def test_the_guides_rule_gives_the_guides_number() -> None:
    estimate = memory_per_gpu_gib(_LLAMA_70B, "bfloat16", tp=4, max_length=1)
    assert estimate is not None
    assert estimate.gib * 2**30 / 1e9 == pytest.approx(42.0, abs=0.1)


def test_the_arithmetic_is_shown() -> None:
    estimate = memory_per_gpu_gib(_LLAMA_70B, "auto", tp=4, pp=2)
    assert estimate is not None
    assert estimate.explanation == (
        "weights: 140,000,000,000 bytes as stored (float16) = 130.39 GiB",
        "x 1.2 overhead / 8 GPUs (TP 4 x PP 2) = 19.56 GiB",
        "+ cache of one sequence: 2 x 40 layers x 2 heads x 128 x 2 bytes x 4,096 tokens = 0.16 GiB",
        "at least 19.71 GiB on each GPU",
    )
    assert estimate.gib == 19.71


def test_a_wider_type_takes_more() -> None:
    assert (wide := memory_per_gpu_gib(_LLAMA_70B, "float32")) is not None
    assert (stored := memory_per_gpu_gib(_LLAMA_70B, None)) is not None
    assert wide.gib == pytest.approx(2 * stored.gib, rel=0.01)


def test_quantized_weights_count_as_stored() -> None:
    facts = ModelFacts(Path("x"), parameters=100, weight_bytes=2**30, quantization="gptq 4-bit")
    assert (estimate := memory_per_gpu_gib(facts, "float16")) is not None
    assert estimate.gib == 1.2
    assert "gptq 4-bit" in estimate.explanation[0]


def test_without_weights_nothing_is_estimated() -> None:
    assert memory_per_gpu_gib(_SMOL, "float16") is None
