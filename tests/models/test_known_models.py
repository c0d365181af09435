from __future__ import annotations

import pytest

from app.models.known_models import KnownModel, known_facts, known_models
from app.models.parameter_count import counted


@pytest.mark.parametrize("model", known_models(), ids=lambda model: str(model.names[0]))
def test_a_line_of_the_table_adds_up(model: KnownModel) -> None:
    """A number that was copied wrongly, in the configuration or of the parameters, does not."""
    count = counted(model.config)
    assert count is not None
    assert count.total + model.beside == model.parameters


def test_no_name_means_two_models() -> None:
    names = [name for model in known_models() for name in model.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "parameters", "length", "quantization"),
    [
        ("meta-llama/Llama-2-70b-hf", 68_976_648_192, 4096, None),
        ("meta-llama/Llama-2-7b-chat-hf", 6_738_415_616, 4096, None),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", 8_030_261_248, 131_072, None),
        ("somebody/Llama-3.3-70B-Instruct-FP8-dynamic", 70_553_706_496, 131_072, "fp8"),
        ("TheBloke/Llama-2-70B-AWQ", 68_976_648_192, 4096, "awq 4-bit"),
        ("Qwen/Qwen2.5-7B", 7_615_616_512, 131_072, None),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", 7_615_616_512, 32_768, "gptq 8-bit"),
        ("microsoft/phi-1_5", 1_418_270_720, 2048, None),
        ("openai/gpt-oss-120b", 116_829_156_672, 131_072, "mxfp4"),
        ("gpt2", 124_439_808, 1024, None),
        ("EleutherAI/pythia-1.4b-deduped", 1_414_647_808, 2048, None),
        ("neuralmagic/Meta-Llama-3-8B-Instruct-quantized.w8a8", 8_030_261_248, 8192, "int 8-bit"),
    ],
)
def test_a_well_known_model_is_known_by_its_name(
    name: str, parameters: int, length: int, quantization: str | None
) -> None:
    facts = known_facts(name)
    assert facts is not None
    assert (facts.parameters, facts.max_positions, facts.quantization) == (parameters, length, quantization)
    assert facts.source.startswith("the table of well-known models (")


@pytest.mark.parametrize(
    "name", ["large_model", "model", "gpt2/", "", "llama", "me/Llama-2-7b-finetuned", "-"]
)
def test_any_other_is_not(name: str) -> None:
    assert known_facts(name) is None


def test_its_shape_is_known_too() -> None:
    facts = known_facts("deepseek-ai/DeepSeek-R1")
    assert facts is not None
    assert (facts.num_layers, facts.num_attention_heads, facts.num_experts) == (61, 128, 256)
    assert (facts.latent_width, facts.intermediate_size, facts.quantization) == (576, 18_432, "fp8")
