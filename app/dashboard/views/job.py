"""A job as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.dashboard.views.phases import Phases, phases_of, time_left
from app.dashboard.views.quality import QualityNotes, quality_of
from app.dashboard.views.tasks import Branch, IndexedTasks, tree
from app.dashboard.words import duration
from app.domain.event import Event
from app.domain.failure import Failure
from app.domain.job import RETRYABLE, JobStatus, Phase
from app.services.job_view import JobView

LOG_LINES = 200
MOST_OF_LINE = 4000
"""A program may write without ever ending a line."""
MOST_FOUND = 1000
_AT_WORK = {
    Phase.PREPARING: "Preparing",
    Phase.WAITING_FOR_GPU: "Waiting for devices",
    Phase.LOADING: "Loading",
    Phase.EVALUATING: "Evaluating",
    Phase.SCORING: "Scoring",
}


@dataclass(frozen=True)
class WayShown:
    """A change that would help, or would not, and its place among those of the failure."""

    place: int
    change: str
    fits: bool
    note: str


@dataclass(frozen=True)
class JobScreen:
    """Everything a job's page places."""

    view: JobView
    state: str
    word: str
    phases: Phases
    tasks: Sequence[Branch]
    failed_tasks: Sequence[tuple[str, Failure]]
    ways: Sequence[WayShown]
    quality: QualityNotes
    left: str
    took: float
    """Seconds since it was submitted, until its end."""
    actions: Sequence[str]


def screen_of(
    view: JobView,
    moves: Sequence[Event],
    known: IndexedTasks,
    scored: Mapping[str, Mapping[str, Any]],
    now: datetime,
) -> JobScreen:
    """What is computed of it, at this moment."""
    state, word = state_of(view)
    return JobScreen(
        view=view,
        state=state,
        word=word,
        phases=phases_of(view, moves, now),
        tasks=tree(view, known, scored),
        failed_tasks=[(task.name, task.error) for task in view.job.tasks if task.error],
        ways=ways_of(view.job.error),
        quality=quality_of(view.job.tasks),
        left=time_left(view) or "\u2013",
        took=((view.job.ended_at or now) - view.job.created_at).total_seconds(),
        actions=actions_of(view.job.status),
    )


def state_of(view: JobView) -> tuple[str, str]:
    """Icon and words: the phase while it runs, and that it stalls where nothing is answered."""
    job = view.job
    if job.status is not JobStatus.RUNNING:
        return job.status, {
            JobStatus.QUEUED: "Waiting",
            JobStatus.PAUSED: "Paused",
            JobStatus.SUCCEEDED: "Succeeded",
            JobStatus.PARTIALLY_FAILED: "Partly failed",
            JobStatus.FAILED: "Failed",
            JobStatus.CANCELLED: "Cancelled",
        }[job.status]
    if job.cancel_requested_at or job.pause_requested_at:
        return "running", "Cancelling" if job.cancel_requested_at else "Pausing"
    if view.progress.stalled:
        return "warning", f"Stalled for {duration(view.progress.stalled_seconds)}"
    waits = job.phase is Phase.WAITING_FOR_GPU
    kind = "queued" if waits else "loading" if job.phase in {Phase.PREPARING, Phase.LOADING} else "running"
    return kind, _AT_WORK.get(job.phase, "Running") if job.phase else "Running"


def actions_of(status: JobStatus) -> list[str]:
    """What may be done to a job now."""
    if status in {JobStatus.QUEUED, JobStatus.RUNNING}:
        return ["pause", "cancel"]
    if status is JobStatus.PAUSED:
        return ["resume", "cancel"]
    return [*(["retry"] if status in RETRYABLE else []), "delete"]


def ways_of(error: Failure | None) -> list[WayShown]:
    """The ways out that the planner computed, those that lead out first."""
    ways = [
        WayShown(
            place,
            " ".join(f"{name}={value}" for name, value in way.get("change", {}).items()),
            bool(way.get("fits")),
            str(way.get("note", "")),
        )
        for place, way in enumerate(error.ways_out if error else ())
    ]
    return sorted(ways, key=lambda way: not way.fits)


def last_lines(text: str) -> list[str]:
    """The end of a log."""
    return _cut(text.splitlines()[-LOG_LINES:])


def found_lines(lines: Sequence[str], find: str) -> list[str]:
    """The last of those that hold a text, in any case: a line may hold what programs write over each other."""
    parts = (part for line in lines for part in line.splitlines())
    return _cut([part for part in parts if find.lower() in part.lower()][-MOST_FOUND:])


def _cut(lines: Sequence[str]) -> list[str]:
    return [line if len(line) <= MOST_OF_LINE else f"{line[:MOST_OF_LINE]}\u2026" for line in lines]
