"""When HF models are given what requests begin with alike once, and what is told of it."""

from __future__ import annotations

from app.backends.scoring import ChosenScoring, ScoringCase
from app.domain.engine_spec import Scoring

ASKED = (
    "log-likelihoods are scored fast, as was asked: what requests begin with alike is computed once. Their last bits"
    " differ from those that lm_eval's hf gets, and depend on what is asked together"
)
MASKED = ("eager", "sdpa")
"""Ways to attend that take any mask; transformers takes one of them unless the job names another."""

BY_ROW = frozenset({"GPTNeoForCausalLM", "gpt_neo"})
"""Their local layers count what stands in a row, in which a tree has more than one text."""


def choose(case: ScoringCase) -> ChosenScoring:
    """Fast where it is asked for, since last bits hang on it; an engine that finds its model unfit scores as stock."""
    if case.asked != Scoring.FAST:
        return ChosenScoring()
    fault = _fault(case)
    return ChosenScoring(fault=fault) if fault else ChosenScoring(Scoring.FAST, ASKED)


def _fault(case: ScoringCase) -> str | None:
    if case.args.get("backend") == "seq2seq":
        return "fast is for causal models"
    attention = case.args.get("attn_implementation")
    if attention is not None and attention not in MASKED:
        return f"fast goes with model_args.attn_implementation {' and '.join(MASKED)} alone"
    if case.facts and case.facts.architecture in BY_ROW:
        return f"fast is not for {case.facts.architecture}, whose local layers count what stands in a row"
    window = case.facts.sliding_window if case.facts and case.facts.windowed_layers else None
    longest = case.args.get("max_length") or (case.facts and case.facts.max_positions)
    if window and isinstance(longest, int) and window < longest:
        return f"fast needs layers that see the whole text, and here they see {window} tokens: say max_length={window}"
    return None
