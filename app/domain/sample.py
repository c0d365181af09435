"""lm-eval's numbers: metrics that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any


def finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics with None where a number is not one: Postgres and strict JSON hold no NaN."""
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in metrics.items()
    }
