"""The tasks of a job as a tree: groups as they were asked for, with what was scored so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.dashboard.views.scores import ScoreLine, chance_of, scores_of, so_far
from app.domain.job import SCORED, JobTask, TaskStatus
from app.services.job_view import JobView

STATES = {
    TaskStatus.WAITING: ("queued", "Waiting"),
    TaskStatus.RUNNING: ("running", "Running"),
    TaskStatus.SUCCEEDED: ("succeeded", "Done"),
    TaskStatus.PARTIALLY_FAILED: ("partially_failed", "Partly failed"),
    TaskStatus.FAILED: ("failed", "Failed"),
}
_ORDER = list(STATES)


@dataclass(frozen=True)
class IndexedTasks:
    """What the index of tasks says of those of a job."""

    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Those asked for, and tags, with their tasks."""
    averaged: Collection[str] = ()
    """Of the groups those that may have a score of their own: a tag has none."""
    choosing: Collection[str] = ()
    """Tasks that score choices."""


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
    partial: str = ""
    """Of how much its score is the score, where that is not all."""


@dataclass(frozen=True)
class Branch:
    """A task as it was asked for; a group with its tasks below it, folded."""

    line: TaskLine
    leaves: Sequence[TaskLine] = ()


def tree(view: JobView, known: IndexedTasks, scored: Mapping[str, Mapping[str, Any]]) -> list[Branch]:
    """In the order of the job; `scored` has the metrics of whole groups."""
    tasks = {task.name: task for task in view.job.tasks}
    branches = []
    for asked, names in known.groups.items():
        below = [tasks.pop(name) for name in names if name in tasks]
        if below:
            averaged = asked in known.averaged and not view.job.status.terminal
            line = _group(asked, below, scored.get(asked), averaged=averaged)
            branches.append(Branch(line, [_line(task, known) for task in below]))
    branches += [Branch(_line(task, known)) for task in tasks.values()]
    place = {name: at for at, name in enumerate(view.spec.tasks)}
    return sorted(branches, key=lambda branch: place.get(branch.line.name, len(place)))


def _group(
    name: str, below: Sequence[JobTask], metrics: Mapping[str, Any] | None, *, averaged: bool
) -> TaskLine:
    kinds = {task.status for task in below}
    status = kinds.pop() if len(kinds) == 1 else _mixed(kinds)
    totals = [task.total for task in below]
    total = None if None in totals else sum(each or 0 for each in totals)
    partial = so_far(below) if averaged and metrics is None else {}
    ended = sum(task.status in SCORED for task in below)
    return TaskLine(
        name,
        *STATES[status],
        sum(task.done for task in below),
        total,
        scores_of(partial or metrics),
        partial=f"of {ended} of {len(below)} tasks so far" if partial else "",
    )


def _mixed(kinds: set[TaskStatus]) -> TaskStatus:
    if kinds & {TaskStatus.WAITING, TaskStatus.RUNNING}:
        return TaskStatus.RUNNING
    return TaskStatus.PARTIALLY_FAILED


def _line(task: JobTask, known: IndexedTasks) -> TaskLine:
    error = f"{task.error.code}: {task.error.message}" if task.error else None
    state, word = STATES[task.status]
    if task.error and task.error.code == "cancelled":
        state, word = "cancelled", "Not run"
    chance = chance_of(task) if task.name in known.choosing else None
    return TaskLine(task.name, state, word, task.done, task.total, scores_of(task.metrics, chance), error)
