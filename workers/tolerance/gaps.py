"""How far two runs over the same documents are apart. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import TypeAlias

from app.domain.tolerance import Gap
from app.errors import ToleranceError

Scored: TypeAlias = Sequence[tuple[float, bool]]
"""Of a document: each choice's log-likelihood, and whether it is greedy."""


def gap(one: Sequence[Scored], other: Sequence[Scored]) -> Gap:
    """Request by request. ToleranceError for what is no number, ValueError for what is not about the same documents."""
    pairs = [pair for mine, theirs in zip(one, other, strict=True) for pair in zip(mine, theirs, strict=True)]
    if not all(math.isfinite(value) for pair in pairs for value, _ in pair):
        raise ToleranceError(
            "the engine told a log-likelihood that is no number: nothing can be compared with it"
        )
    return Gap(
        largest=max((abs(mine[0] - theirs[0]) for mine, theirs in pairs), default=0.0),
        greedy=sum(mine[1] != theirs[1] for mine, theirs in pairs),
        choices=sum(_likeliest(mine) != _likeliest(theirs) for mine, theirs in zip(one, other, strict=True)),
    )


def _likeliest(scored: Scored) -> int:
    """The first of the best, as lm-eval's `acc` has it."""
    return max(enumerate(value for value, _ in scored), key=itemgetter(1))[0]
