"""Right and wrong answers, by the metrics of a task."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest

from workers.harness_child.lm_eval.verdicts import verdicts

T, F = True, False
UP, DOWN = {"m": True}, {"m": False}
SAID: dict[str, tuple[list[Any], object, list[bool | None]]] = {
    "more is better": ([1.0, 0, True, np.float32(0), np.bool_(1)], UP, [T, F, T, F, T]),
    "less is better": ([1.0, 0, True, np.float32(0), np.bool_(1)], DOWN, [F, T, F, T, F]),
    "a count": ([0, 1, 2], UP, [None] * 3),
    "a share": ([0.0, 0.5, 1.0], UP, [None] * 3),
    "a number beyond all": ([0.0, inf], UP, [None] * 2),
    "a huge number": ([1, 10**400], UP, [None] * 2),
    "no way is better": ([0, 1], {"m": None}, [None] * 2),
    "no way is told": ([0, 1], {}, [None] * 2),
    "a way in words": ([0, 1], {"m": "yes"}, [None] * 2),
    "no ways at all": ([0, 1], None, [None] * 2),
    "no number for some": ([1, nan, None, "1", [1]], UP, [T, None, None, None, None]),
    "no number at all": ([[0.2, 1], (0, 1)], UP, [None] * 2),
    "no documents": ([], UP, []),
}


@pytest.mark.parametrize("name", SAID)
def test_a_metric_says_what_is_right_only_where_it_is_yes_or_no(name: str) -> None:
    values, ways, expected = SAID[name]
    assert verdicts([{"metrics": ["m"], "m": value} for value in values], ways) == expected


def test_the_first_metric_that_is_yes_or_no_decides() -> None:
    rows: list[dict[str, Any]] = [
        {"metrics": ["words", "slip", "acc"], "words": 1, "slip": 1, "acc": 1},
        {"metrics": ["words", "slip", "acc"], "words": 7, "slip": 0, "acc": 1},
        {"metrics": []},
    ]
    assert verdicts(rows, {"words": True, "slip": False, "acc": True}) == [False, True, None]
