"""Whether the model got a sample right, as far as lm-eval's metrics say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_correct(row: Mapping[str, Any]) -> bool | None:
    """The first metric of the row that is a plain 0 or 1; None where no metric is."""
    for metric in row.get("metrics", ()):
        value = row.get(metric)
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
    return None
