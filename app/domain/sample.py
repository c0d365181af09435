"""lm-eval's numbers: whether a sample is right, and metrics that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any


def is_correct(row: Mapping[str, Any]) -> bool | None:
    """The first metric of the row that is a plain 0 or 1; None where no metric is."""
    for metric in row.get("metrics", ()):
        value = row.get(metric)
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
    return None


def finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics with None where a number is not one: Postgres and strict JSON hold no NaN."""
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in metrics.items()
    }
