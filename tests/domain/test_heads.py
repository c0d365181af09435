import pytest

from app.domain.heads import head_faults
from app.domain.model_facts import ModelFacts

_LLAMA_70B = ModelFacts(
    num_attention_heads=64, num_key_value_heads=8, num_layers=80, hidden_size=8192, head_dim=128,
    max_positions=4096, dtype="float16", parameters=70_000_000_000, weight_bytes=140_000_000_000,
)  # fmt: skip
_SMOL = ModelFacts(num_attention_heads=9, num_key_value_heads=3)


@pytest.mark.parametrize("tp", [1, 2, 4, 8, 16])
def test_heads_that_can_be_shared_out_are_fine(tp: int) -> None:
    assert head_faults(_LLAMA_70B, tp) == []


def test_heads_that_cannot_be_shared_out_are_refused_with_what_can() -> None:
    (fault,) = head_faults(_SMOL, 2)
    assert fault.message == "9 attention heads cannot be shared out to 2 GPUs"
    assert fault.allowed == ("1", "3", "9")


def test_key_value_heads_count_too() -> None:
    (fault,) = head_faults(ModelFacts(num_attention_heads=12, num_key_value_heads=4), 6)
    assert fault.message == "4 key-value heads cannot be shared out to 6 GPUs"


def test_unknown_heads_are_not_judged() -> None:
    assert head_faults(ModelFacts(), 3) == []
