"""The tasks of a job as a tree: groups as they were asked for, with what was scored so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.domain.job import JobTask, TaskStatus
from app.services.job_view import JobView
from app.workloads.lm_eval.result_table import NOT_METRICS

Z = 1.96
"""Standard errors to each side of a 95 % interval, as lm-eval's errors are those of a mean."""
STATES = {
    TaskStatus.WAITING: ("queued", "Waiting"),
    TaskStatus.RUNNING: ("running", "Running"),
    TaskStatus.SUCCEEDED: ("succeeded", "Done"),
    TaskStatus.PARTIALLY_FAILED: ("partially_failed", "Partly failed"),
    TaskStatus.FAILED: ("failed", "Failed"),
}
_ORDER = list(STATES)


@dataclass(frozen=True)
class ScoreLine:
    """One metric, with its interval where it has one, and where that stands from 0 to 1, in percent."""

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    plotted: bool = False


@dataclass(frozen=True)
class TaskLine:
    """A task or a group as a row."""

    name: str
    state: str
    word: str
    done: int
    total: int | None
    scores: Sequence[ScoreLine]
    error: str | None = None


@dataclass(frozen=True)
class Branch:
    """A task as it was asked for; a group with its tasks below it, folded."""

    line: TaskLine
    leaves: Sequence[TaskLine] = ()


def tree(
    view: JobView, groups: Mapping[str, Sequence[str]], scored: Mapping[str, Mapping[str, Any]]
) -> list[Branch]:
    """In the order of the job; `groups` has the tasks of those asked for, `scored` the metrics of whole groups."""
    tasks = {task.name: task for task in view.job.tasks}
    branches = []
    for asked, names in groups.items():
        below = [tasks.pop(name) for name in names if name in tasks]
        if below:
            branches.append(_group(asked, below, scored.get(asked)))
    branches += [Branch(_line(task)) for task in tasks.values()]
    place = {name: at for at, name in enumerate(view.spec.tasks)}
    return sorted(branches, key=lambda branch: place.get(branch.line.name, len(place)))


def _group(name: str, below: Sequence[JobTask], metrics: Mapping[str, Any] | None) -> Branch:
    kinds = {task.status for task in below}
    status = kinds.pop() if len(kinds) == 1 else _mixed(kinds)
    totals = [task.total for task in below]
    total = None if None in totals else sum(each or 0 for each in totals)
    line = TaskLine(name, *STATES[status], sum(task.done for task in below), total, scores_of(metrics))
    return Branch(line, [_line(task) for task in below])


def _mixed(kinds: set[TaskStatus]) -> TaskStatus:
    if kinds & {TaskStatus.WAITING, TaskStatus.RUNNING}:
        return TaskStatus.RUNNING
    return TaskStatus.PARTIALLY_FAILED


def _line(task: JobTask) -> TaskLine:
    error = f"{task.error.code}: {task.error.message}" if task.error else None
    state, word = STATES[task.status]
    if task.error and task.error.code == "cancelled":
        state, word = "cancelled", "Not run"
    return TaskLine(task.name, state, word, task.done, task.total, scores_of(task.metrics), error)


def scores_of(metrics: Mapping[str, Any] | None) -> list[ScoreLine]:
    """Every metric of one task, with its filter where it has one, by name."""
    lines = []
    for key in sorted(set(metrics or {}) - NOT_METRICS):
        metric, _, filtered = key.partition(",")
        if metrics is None or metric.endswith("_stderr"):
            continue
        name = metric if filtered in {"", "none"} else f"{metric}, {filtered}"
        lines.append(_score(name, metrics[key], metrics.get(f"{metric}_stderr,{filtered}")))
    return lines


def _score(name: str, value: Any, error: Any) -> ScoreLine:
    score, deviation = _finite(value), _finite(error)
    if score is None or deviation is None:
        return ScoreLine(name, score, plotted=score is not None and 0 <= score <= 1)
    low, high = score - Z * deviation, score + Z * deviation
    if not 0 <= score <= 1:
        return ScoreLine(name, score, low, high)
    return ScoreLine(name, score, max(low, 0.0), min(high, 1.0), plotted=True)


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
