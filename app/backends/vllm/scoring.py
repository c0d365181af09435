"""When vLLM is asked for what requests have in common once, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.backends.scoring import ChosenScoring
from app.domain.engine_spec import Scoring

EXACT_DTYPES = frozenset({"float32", "float"})
"""In which vLLM gives on a CPU the same bits either way; `auto` stands for a narrower one there."""

UNLIKE: Mapping[str, tuple[str, ...]] = {"kv_cache_dtype": ("auto", "float32"), "quantization": ()}
"""Under other values than these nobody has compared the two ways."""

WITHOUT: Mapping[str, tuple[str, ...]] = {
    "logprobs_mode": ("raw_logprobs",),
    "logits_processors": (),
    "speculative_config": (),
    "spec_method": (),
    "spec_model": (),
    "spec_tokens": (),
}
"""Under other values than these vLLM tells of a token that it may choose otherwise than of one that it read."""

EXACT = (
    "log-likelihoods are scored fast: what requests of one context share is computed once, with answers equal to"
    " lm_eval's to the last bit on a CPU in float32"
)
ASKED = "log-likelihoods are scored fast, as was asked: their last bits may differ from those that lm_eval's vllm gets"
SPARED = (
    "log-likelihoods are scored as lm_eval does it. scoring_mode fast computes once what requests of one context share:"
    " a fifth to a twentieth of the work with examples before each question. Its last bits may differ here, so that it"
    " has to be asked for"
)


def on_gpus(asked: str, args: Mapping[str, Any]) -> ChosenScoring:
    """Fast where it is asked for."""
    return _chosen(asked, args, exact=False)


def on_cpus(asked: str, args: Mapping[str, Any]) -> ChosenScoring:
    """Fast unless another way is asked for, where no bit depends on it."""
    exact = args.get("dtype") in EXACT_DTYPES and not _outside(UNLIKE, args)
    return _chosen(asked, args, exact=exact)


def _chosen(asked: str, args: Mapping[str, Any], *, exact: bool) -> ChosenScoring:
    unfit = _outside(WITHOUT, args)
    if asked == Scoring.STOCK or (asked != Scoring.FAST and unfit):
        return ChosenScoring()
    if unfit:
        return ChosenScoring(fault=f"fast does not go with model_args.{unfit[0]}")
    if exact:
        return ChosenScoring(Scoring.FAST, EXACT)
    return ChosenScoring(Scoring.FAST, ASKED) if asked == Scoring.FAST else ChosenScoring(note=SPARED)


def _outside(known: Mapping[str, tuple[str, ...]], args: Mapping[str, Any]) -> list[str]:
    """Arguments with a value that is none of these."""
    return [name for name, values in known.items() if (value := args.get(name)) and value not in values]
