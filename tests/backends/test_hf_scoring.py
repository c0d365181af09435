"""When log-likelihoods of hf are scored fast."""

from __future__ import annotations

from typing import Any

import pytest

from app.backends import BACKENDS
from app.backends.hf.scoring import ASKED
from app.backends.scoring import ScoringCase
from app.domain.engine_spec import Scoring
from app.domain.model_facts import ModelFacts

STOCK, FAST = Scoring
WINDOWS = ModelFacts(sliding_window=4096, windowed_layers=16, max_positions=32768)
choose = BACKENDS["hf"].scoring


@pytest.mark.parametrize(
    ("asked", "args", "facts", "mode", "note"),
    [
        ("auto", {"dtype": "float32"}, None, STOCK, None),
        ("stock", {"backend": "seq2seq"}, WINDOWS, STOCK, None),
        ("auto", {"backend": "seq2seq"}, WINDOWS, STOCK, None),
        ("fast", {}, None, FAST, ASKED),
        ("fast", {"backend": "causal", "dtype": "bfloat16"}, ModelFacts(), FAST, ASKED),
        ("fast", {"attn_implementation": "eager"}, ModelFacts(max_positions=512), FAST, ASKED),
        ("fast", {"max_length": 4096}, WINDOWS, FAST, ASKED),
        ("fast", {}, ModelFacts(sliding_window=4096, windowed_layers=0, max_positions=32768), FAST, ASKED),
    ],
)
def test_it_is_fast_where_it_is_asked_for(
    asked: str, args: dict[str, Any], facts: ModelFacts | None, mode: Scoring, note: str | None
) -> None:
    chosen = choose(ScoringCase(asked, args, facts=facts))
    assert (chosen.mode, chosen.note, chosen.fault) == (mode, note, None)


@pytest.mark.parametrize(
    ("args", "facts", "words"),
    [
        ({"backend": "seq2seq"}, None, "for causal models"),
        ({"attn_implementation": "flash_attention_2"}, None, "eager and sdpa alone"),
        ({"attn_implementation": "flex_attention"}, None, "eager and sdpa alone"),
        ({"attn_implementation": {"": "eager"}}, None, "eager and sdpa alone"),
        ({}, WINDOWS, "see 4096 tokens: say max_length=4096"),
        ({"max_length": 4097}, WINDOWS, "see 4096 tokens"),
        ({}, ModelFacts(architecture="GPTNeoForCausalLM"), "not for GPTNeoForCausalLM"),
    ],
)
def test_it_is_refused_where_the_model_cannot(
    args: dict[str, Any], facts: ModelFacts | None, words: str
) -> None:
    assert words in str(choose(ScoringCase("fast", args, facts=facts)).fault)
