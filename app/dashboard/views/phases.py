"""How long a job was at what, of all its attempts: from the events that moved it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.dashboard.words import duration, range_of
from app.domain.event import Event
from app.domain.job import JobStatus, Phase
from app.services.job_view import JobView

QUEUED, PAUSED = "queued", "paused"
NAMES = {
    QUEUED: "Queued",
    Phase.PREPARING: "Preparing",
    Phase.WAITING_FOR_GPU: "Waiting for devices",
    Phase.LOADING: "Loading",
    Phase.EVALUATING: "Evaluating",
    Phase.SCORING: "Scoring",
    PAUSED: "Paused",
}
_CLASSES = {
    QUEUED: "c-waiting",
    Phase.PREPARING: "c-done",
    Phase.WAITING_FOR_GPU: "c-waiting",
    Phase.LOADING: "c-loading",
    Phase.EVALUATING: "c-done",
    Phase.SCORING: "c-past",
    PAUSED: "c-cancelled",
}
NARROWEST = 0.4
"""Percent: what was shorter is still seen."""


@dataclass(frozen=True)
class Stretch:
    """A time in which a job was at one thing."""

    name: str
    seconds: float


@dataclass(frozen=True)
class PhaseBar:
    """A stretch where it stands on the bar, in percent."""

    cls: str
    x: float
    width: float


@dataclass(frozen=True)
class PhaseSum:
    """All that a job spent at one thing, in words."""

    name: str
    cls: str
    told: str


@dataclass(frozen=True)
class Phases:
    """The bar and its numbers."""

    bars: Sequence[PhaseBar]
    sums: Sequence[PhaseSum]


def phases_of(view: JobView, moves: Sequence[Event], now: datetime) -> Phases:
    """By what moved it; what is to come, where that is known, is drawn behind what was."""
    job = view.job
    stretches = _joined(_stretches(moves, job.created_at, job.ended_at or now))
    last = len(stretches) - 1
    left = _left(view)
    whole = sum(each.seconds for each in stretches) + left or 1.0
    bars, at = [], 0.0
    for place, each in enumerate(stretches):
        cls = _cls(each.name, job.status) if place == last else _CLASSES[each.name]
        bars.append(PhaseBar(cls, round(at, 2), round(max(100 * each.seconds / whole, NARROWEST), 2)))
        at += 100 * each.seconds / whole
    if left:
        bars.append(PhaseBar("c-rest", round(at, 2), round(100 - at, 2)))
    present = stretches[last].name if stretches and not job.status.terminal else None
    return Phases(bars, [_sum(name, stretches, view, present) for name in _shown(stretches)])


def _stretches(moves: Sequence[Event], begin: datetime, end: datetime) -> Iterator[Stretch]:
    name: str | None = QUEUED
    for move in moves:
        if name is not None:
            yield Stretch(name, max((move.at - begin).total_seconds(), 0.0))
        name, begin = _entered(move), move.at
    if name is not None:
        yield Stretch(name, max((end - begin).total_seconds(), 0.0))


def _joined(stretches: Iterator[Stretch]) -> list[Stretch]:
    """Neighbours at one thing are one stretch: a job may be told again what it is at."""
    found: list[Stretch] = []
    for each in stretches:
        if found and found[-1].name == each.name:
            found[-1] = Stretch(each.name, found[-1].seconds + each.seconds)
        else:
            found.append(each)
    return found


def _entered(move: Event) -> str | None:
    """What a job is at after an event; None where it has ended."""
    if move.type == "job.phase":
        return next((phase for phase in Phase if phase == move.data.get("phase")), Phase.PREPARING)
    return {"job.queued": QUEUED, "job.paused": PAUSED}.get(move.type)


def _cls(name: str, status: JobStatus) -> str:
    if status is JobStatus.FAILED:
        return "c-failed"
    return "c-running" if name == Phase.EVALUATING and not status.terminal else _CLASSES[name]


def _left(view: JobView) -> float:
    found = view.estimate
    return (found.end or 0.0) if found else view.progress.eta_seconds or 0.0


def _shown(stretches: Sequence[Stretch]) -> list[str]:
    met = {each.name for each in stretches}
    return [name for name in NAMES if name != PAUSED or name in met]


def _sum(name: str, stretches: Sequence[Stretch], view: JobView, present: str | None) -> PhaseSum:
    spent = [each.seconds for each in stretches if each.name == name]
    if not spent:
        return PhaseSum(NAMES[name], "c-none", "not yet" if present else "never")
    told = duration(sum(spent)) + (f", {len(spent)} times" if len(spent) > 1 else "")
    if name == present == Phase.EVALUATING and (left := time_left(view)):
        told += f", {left} to come"
    return PhaseSum(NAMES[name], _cls(name, view.job.status) if name == present else _CLASSES[name], told)


def time_left(view: JobView) -> str | None:
    """Until the end, as a range where one is known."""
    found = view.estimate
    if found and found.end_low is not None and found.end_high is not None:
        return range_of(found.end_low, found.end_high)
    eta = view.progress.eta_seconds
    return None if eta is None else f"about {duration(eta)}"
