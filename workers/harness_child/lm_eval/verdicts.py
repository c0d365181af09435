"""Which documents were answered rightly, as far as a task's metrics tell. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np

SampleRow = Mapping[str, Any]


def verdicts(rows: Sequence[SampleRow], higher_is_better: object) -> list[bool | None]:
    """For each sample row of a task whether it is right.

    The first metric decides that says which way is better and is 0 or 1 for every document that it has a
    number for: another number anywhere shows a count, a length or a share. None where it has no number, and
    everywhere if no metric decides.
    """
    ways = higher_is_better if isinstance(higher_is_better, Mapping) else {}
    for metric in dict.fromkeys(name for row in rows for name in row["metrics"]):
        right = ways.get(metric)
        values = [_number(row.get(metric)) for row in rows]
        if isinstance(right, bool) and {0, 1} >= set(values) - {None} != set():
            return [None if value is None else value == right for value in values]
    return [None] * len(rows)


def _number(value: object) -> float | None:
    """A number as JSON holds it; None for NaN and for what is no number."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and isnan(plain):
        return None
    return plain if isinstance(plain, bool | int | float) else None
