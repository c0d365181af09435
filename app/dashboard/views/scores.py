"""Scores of tasks and groups as lines, with their 95 % intervals, and what guessing would score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.job import JobTask
from app.workloads.lm_eval.result_table import NOT_METRICS

Z = 1.96
"""Standard errors to each side of a 95 % interval, as lm-eval's errors are those of a mean."""
MEANS = {"acc", "acc_norm", "exact_match", "em", "f1"}
"""Metrics of which a group's score is the mean over all documents of its tasks."""
GUESSED = {"acc", "acc_norm"}
NEAR = 0.05
"""A task's documents may differ in their choices, and then there is no one chance."""


@dataclass(frozen=True)
class ScoreLine:
    """One metric, with its interval where it has one, and where that stands from 0 to 1, in percent."""

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    plotted: bool = False
    chance: float | None = None
    """What guessing scores."""


def scores_of(metrics: Mapping[str, Any] | None, chance: float | None = None) -> list[ScoreLine]:
    """Every metric of one task, with its filter where it has one, by name."""
    lines = []
    for key in sorted(set(metrics or {}) - NOT_METRICS):
        metric, _, filtered = key.partition(",")
        if metrics is None or metric.endswith("_stderr"):
            continue
        name = metric if filtered in {"", "none"} else f"{metric}, {filtered}"
        guessed = chance if metric in GUESSED else None
        lines.append(_score(name, metrics[key], metrics.get(f"{metric}_stderr,{filtered}"), guessed))
    return lines


def chance_of(task: JobTask) -> float | None:
    """Of a task that scores choices, each by a request: one in as many; None where they are not as many each time."""
    documents = _finite((task.metrics or {}).get("sample_len"))
    if not documents or not task.total or "acc_mutual_info,none" in (task.metrics or {}):
        return None
    choices = task.total / documents
    return 1 / round(choices) if choices >= 2 - NEAR and abs(choices - round(choices)) < NEAR else None


def so_far(tasks: Sequence[JobTask]) -> dict[str, Any]:
    """Metrics over all documents of those that are scored; the error is that of their mean."""
    known = [task.metrics for task in tasks if task.metrics and _finite(task.metrics.get("sample_len"))]
    shared = set.intersection(*(set(each) for each in known)) if known else set()
    found: dict[str, Any] = {}
    for key in (key for key in shared if key.partition(",")[0] in MEANS):
        metric, _, filtered = key.partition(",")
        error = f"{metric}_stderr,{filtered}"
        counts = [float(each["sample_len"]) for each in known]
        values = [_finite(each[key]) for each in known]
        errors = [_finite(each.get(error)) for each in known]
        whole = sum(counts)
        if None not in values:
            found[key] = sum(n * (value or 0.0) for n, value in zip(counts, values, strict=True)) / whole
        if key in found and None not in errors:
            squares = ((n * (each or 0.0)) ** 2 for n, each in zip(counts, errors, strict=True))
            found[error] = math.sqrt(sum(squares)) / whole
    return found


def _score(name: str, value: Any, error: Any, chance: float | None) -> ScoreLine:
    score, deviation = _finite(value), _finite(error)
    if score is None or deviation is None:
        plotted = score is not None and 0 <= score <= 1
        return ScoreLine(name, score, plotted=plotted, chance=chance)
    low, high = score - Z * deviation, score + Z * deviation
    if not 0 <= score <= 1:
        return ScoreLine(name, score, low, high)
    return ScoreLine(name, score, max(low, 0.0), min(high, 1.0), plotted=True, chance=chance)


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
