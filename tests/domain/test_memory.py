"""Memory as the guides reckon it, and as start-up logs of vLLM on H100s show it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from app.domain.memory import Fit, MemoryTerms, largest_batch, memory_of
from app.domain.model_facts import ModelFacts
from app.domain.model_weights import Precision
from app.models.known_models import known_facts
from app.models.stated_size import stated_parameters

SERVED = MemoryTerms(serves=True, length=4096)


def known(name: str) -> ModelFacts:
    facts = known_facts(name)
    assert facts is not None
    return facts


@pytest.mark.parametrize(
    ("size", "gpus", "gigabytes"),
    [("7B", 1, 16.8), ("13B", 1, 31.2), ("70B", 1, 168), ("70B", 4, 42), ("70B", 8, 21)],
)
def test_the_guides_rule_gives_the_guides_numbers(size: str, gpus: int, gigabytes: float) -> None:
    memory = memory_of(ModelFacts(parameters=stated_parameters(size)), MemoryTerms(), gpus)
    assert memory is not None
    assert memory.rule_gb == pytest.approx(gigabytes)
    assert memory.gib * 2**30 / 1e9 == pytest.approx(gigabytes), "all there is while a shape is not known"


# fmt: off
LOGGED = [
    ("Llama-2-7b-hf", 1, 16.2, 12.55, 13.58, 512, 17.3),
    ("Llama-2-13b-hf", 1, 31.2, 24.24, 25.46, 800, 31.8),
    ("Llama-2-70b-hf", 2, 82.8, 64.24, 67.55, 160, 75.7),
    ("Llama-2-70b-hf", 4, 41.4, 32.12, 35.10, 80, 39.3),
    ("Llama-2-70b-hf", 8, 20.7, 16.06, 18.87, 40, 21.1),
    ("Mixtral-8x7B-v0.1", 2, 56.0, 43.50, 46.22, 64, 51.6),
    ("Qwen3-30B-A3B", 1, 73.3, 56.87, 59.31, 96, 66.3),
    ("Llama-3.3-70B-Instruct-FP8", 1, 84.7, 67.67, 69.77, 320, 78.9),
    ("Llama-3.3-70B-Instruct-FP8", 2, 42.3, 33.83, 37.82, 160, 42.7),
    ("Llama-2-70B-AWQ", 1, 41.4, 34.10, 36.18, 320, 41.6),
    ("Qwen3-235B-A22B-FP8", 8, 35.3, 27.51, 31.83, 47, 35.6),
]
# fmt: on


@pytest.mark.parametrize("logged", LOGGED, ids=lambda logged: f"{logged[0]}-{logged[1]}")
def test_the_arithmetic_gives_what_engines_logged(
    logged: tuple[str, int, float, float, float, float, float],
) -> None:
    name, tensor, rule, weights, beside_cache, kib, card = logged
    facts = replace(known(name), num_experts=None)  # the half GiB that experts add is for users
    memory = memory_of(facts, SERVED, tensor)
    assert memory is not None
    assert memory.rule_gb == pytest.approx(rule, abs=0.06)
    assert memory.weights == pytest.approx(weights, abs=0.015)
    assert memory.gib - memory.cache == pytest.approx(beside_cache, abs=0.015)
    assert memory.cache_kib_per_token == kib
    assert memory.card_gib == pytest.approx(card, abs=0.06)


def test_experts_add_half_a_gib() -> None:
    mixtral = known("mistralai/Mixtral-8x7B-v0.1")
    plain, users = memory_of(replace(mixtral, num_experts=None), SERVED), memory_of(mixtral, SERVED)
    assert plain is not None
    assert users is not None
    assert users.gib - plain.gib == pytest.approx(0.5)


def test_latent_cache_is_not_divided() -> None:
    deepseek = known("deepseek-ai/DeepSeek-V3")
    one, eight = memory_of(deepseek, SERVED, 1), memory_of(deepseek, SERVED, 8)
    assert one is not None
    assert eight is not None
    assert one.cache_kib_per_token == eight.cache_kib_per_token == 61 * 576 * 2 / 1024


def test_a_window_bounds_the_cache_of_its_layers() -> None:
    gemma = known("google/gemma-3-27b-it")
    assert (gemma.windowed_layers, gemma.sliding_window) == (52, 1024)
    memory = memory_of(gemma, MemoryTerms(serves=True))
    assert memory is not None
    assert memory.cache == pytest.approx((10 * 131_072 + 52 * 1024) * 2 * 16 * 128 * 2 / 2**30)


def test_eight_bits_of_cache_are_half_of_it() -> None:
    llama = known("meta-llama/Llama-2-7b-hf")
    narrow = memory_of(llama, replace(SERVED, cache_dtype="fp8"))
    assert narrow is not None
    assert narrow.cache == 1.0


def test_hf_needs_a_peak_for_each_word_of_each_token() -> None:
    llama = known("meta-llama/Llama-3.1-8B")
    memory = memory_of(llama, MemoryTerms(length=1024, batch=4))
    assert memory is not None
    assert memory.activations == pytest.approx(4 * 1024 * 128_256 * 6 / 2**30)
    assert memory.cache == pytest.approx(4 * 1024 * 128 * 1024 / 2**30)
    assert memory.cache_kib_per_token == 128


@pytest.mark.parametrize("device", [20.0, 24.0, 80.0])
def test_the_largest_batch_fits_and_one_more_does_not(device: float) -> None:
    llama = known("meta-llama/Llama-3.1-8B")
    one = memory_of(llama, MemoryTerms(length=1024))
    assert one is not None
    most = largest_batch(one, device)
    for batch, fits in ((most, True), (most + 1, False)):
        memory = memory_of(llama, MemoryTerms(length=1024, batch=batch))
        assert memory is not None
        assert (memory.fit(device) is not Fit.NO) is fits


@pytest.mark.parametrize(
    ("precision", "gib"),
    [
        (Precision("float32"), 4 * 6_738_415_616),
        (Precision("auto"), 2 * 6_738_415_616),
        (Precision(quantization="fp8"), 6_738_415_616 + 32_000 * 4096 * 2 + 65 * 4096),
    ],
)
def test_the_type_that_is_asked_for_decides(precision: Precision, gib: float) -> None:
    memory = memory_of(known("meta-llama/Llama-2-7b-hf"), MemoryTerms(precision=precision))
    assert memory is not None
    assert memory.weights * 2**30 == gib


def test_what_serves_halves_what_is_stored_in_32_bits() -> None:
    gpt2 = known("gpt2")
    served, asked = memory_of(gpt2, SERVED), memory_of(gpt2, MemoryTerms())
    assert served is not None
    assert asked is not None
    assert asked.weights == 2 * served.weights


def test_weights_that_are_stored_quantized_count_as_stored() -> None:
    facts = ModelFacts(parameters=100, weight_bytes=2**30, quantization="gptq 4-bit")
    memory = memory_of(facts, MemoryTerms(precision=Precision("float16")))
    assert memory is not None
    assert memory.weights == 1.0
    assert "gptq 4-bit" in memory.lines[0]


def test_without_a_size_nothing_is_reckoned() -> None:
    assert memory_of(ModelFacts(num_attention_heads=9), MemoryTerms()) is None


@pytest.mark.parametrize(
    ("device", "fit"),
    [(17.2, Fit.NO), (17.4, Fit.TIGHT), (17.8, Fit.TIGHT), (18.0, Fit.FITS), (80.0, Fit.FITS)],
)
def test_what_an_estimate_may_be_off_by_is_kept_apart(device: float, fit: Fit) -> None:
    memory = memory_of(known("meta-llama/Llama-2-7b-hf"), SERVED)
    assert memory is not None
    assert memory.fit(device) is fit


def test_a_limit_of_the_user_counts_as_the_device() -> None:
    memory = memory_of(known("meta-llama/Llama-2-70b-hf"), MemoryTerms(limit=40 * 10**9), 1, 2)
    assert memory is not None
    assert memory.fit(79.0) is Fit.NO


WIDTHS = some.sampled_from([1, 2, 4, 8, 16])
NAMES = some.sampled_from(
    ["Llama-2-70b-hf", "Mixtral-8x7B-v0.1", "DeepSeek-V3", "gpt-oss-120b", "gemma-2-27b", "gpt2"]
)


@given(NAMES, WIDTHS, WIDTHS, some.booleans())
def test_more_devices_never_need_more_of_each_but_for_nccl(
    name: str, tensor: int, pipeline: int, serves: bool
) -> None:
    terms = MemoryTerms(serves=serves, length=2048)
    narrow, wide = (
        memory_of(known(name), terms, tensor, pipeline),
        memory_of(known(name), terms, 2 * tensor, pipeline),
    )
    assert narrow is not None
    assert wide is not None
    assert wide.gib - wide.runtime <= narrow.gib - narrow.runtime
    assert wide.runtime == narrow.runtime or tensor == 1
