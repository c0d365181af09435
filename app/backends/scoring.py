"""Which way log-likelihoods are come to, where a backend has more than one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from app.domain.engine_spec import Scoring


@dataclass(frozen=True)
class ChosenScoring:
    """What is made of `scoring_mode`."""

    mode: Scoring = Scoring.STOCK
    note: str | None = None
    """What a user should know of it."""
    fault: str | None = None


ScoringChoice: TypeAlias = Callable[[str, Mapping[str, Any]], ChosenScoring]
"""From what was asked (stock, fast, auto) and the engine's arguments."""


def stock_alone(asked: str, _: Mapping[str, Any]) -> ChosenScoring:
    """The choice of a backend that knows one way."""
    fault = "fast is for models of vllm: this backend scores as lm_eval does"
    return ChosenScoring(fault=fault if asked == Scoring.FAST else None)
