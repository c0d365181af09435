"""When log-likelihoods of vLLM are scored fast."""

from __future__ import annotations

from typing import Any

import pytest

from app.backends import BACKENDS
from app.backends.scoring import ScoringCase
from app.backends.vllm.scoring import ASKED, EXACT, SPARED
from app.domain.engine_spec import Scoring

STOCK, FAST = Scoring
F32 = {"dtype": "float32"}


@pytest.mark.parametrize(
    ("backend", "asked", "args", "mode", "note"),
    [
        ("vllm-cpu", "auto", F32, FAST, EXACT),
        ("vllm-cpu", "auto", {"dtype": "float", "max_num_seqs": 4, "kv_cache_dtype": "auto"}, FAST, EXACT),
        ("vllm-cpu", "stock", F32, STOCK, None),
        ("vllm-cpu", "fast", F32, FAST, EXACT),
        ("vllm-cpu", "auto", {}, STOCK, SPARED),
        ("vllm-cpu", "auto", {"dtype": "auto"}, STOCK, SPARED),
        ("vllm-cpu", "auto", {"dtype": "bfloat16"}, STOCK, SPARED),
        ("vllm-cpu", "auto", {**F32, "quantization": "fp8"}, STOCK, SPARED),
        ("vllm-cpu", "auto", {**F32, "kv_cache_dtype": "fp8"}, STOCK, SPARED),
        ("vllm-cpu", "auto", {**F32, "logprobs_mode": "processed_logprobs"}, STOCK, None),
        ("vllm-cpu", "auto", {**F32, "speculative_config": {"method": "ngram"}}, STOCK, None),
        ("vllm-cpu", "auto", {**F32, "spec_method": "ngram", "spec_tokens": 3}, STOCK, None),
        ("vllm-cpu", "auto", {**F32, "spec_model": "draft"}, STOCK, None),
        ("vllm-cpu", "auto", {**F32, "logits_processors": ["mine"]}, STOCK, None),
        ("vllm-cpu", "fast", {"dtype": "bfloat16"}, FAST, ASKED),
        ("vllm", "auto", F32, STOCK, SPARED),
        ("vllm", "auto", {}, STOCK, SPARED),
        ("vllm", "stock", {}, STOCK, None),
        ("vllm", "fast", {"quantization": "fp8"}, FAST, ASKED),
        ("echo", "auto", {}, STOCK, None),
    ],
)
def test_it_is_fast_by_itself_where_no_bit_depends_on_it(
    backend: str, asked: str, args: dict[str, Any], mode: Scoring, note: str | None
) -> None:
    chosen = BACKENDS[backend].scoring(ScoringCase(asked, args))
    assert (chosen.mode, chosen.note, chosen.fault) == (mode, note, None)


@pytest.mark.parametrize(
    ("backend", "args", "words"),
    [
        ("echo", {}, "this backend scores as lm_eval does"),
        ("vllm", {"logprobs_mode": "raw_logits"}, "does not go with model_args.logprobs_mode"),
        ("vllm-cpu", {"speculative_config": {"method": "ngram"}}, "model_args.speculative_config"),
    ],
)
def test_where_it_cannot_be_it_is_refused(backend: str, args: dict[str, Any], words: str) -> None:
    assert words in str(BACKENDS[backend].scoring(ScoringCase("fast", args)).fault)


def test_every_backend_takes_what_it_is_asked_without_arguments() -> None:
    for backend in BACKENDS.values():
        assert backend.scoring(ScoringCase("auto")).mode is STOCK
        assert backend.scoring(ScoringCase("stock")).fault is None
