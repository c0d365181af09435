"""What is counted for good: a count outlives the rows that it was taken from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.domain.event import Event
from app.domain.job import JobStatus

BOUNDS = (
    1.0,
    5.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    14400.0,
    43200.0,
    86400.0,
    math.inf,
)
"""Seconds, upper bounds of what durations are sorted into."""


class Counted(StrEnum):
    """Of what there are counts."""

    JOBS_FINISHED = "jobs_finished"
    QUEUE_WAIT = "queue_wait_seconds"
    PHASE = "phase_seconds"
    REQUESTS = "requests"
    TOKENS = "tokens"
    GPU_SECONDS = "gpu_seconds"
    LEASE_EXPIRED = "lease_expired"


@dataclass(frozen=True)
class Tallied:
    """A count under labels; of durations how many were up to `bound`, with their sum."""

    what: Counted
    amount: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    bound: float | None = None
    times: int = 1


def lasted(what: Counted, seconds: float, **labels: str) -> Tallied:
    """One duration."""
    known = max(seconds, 0.0)  # the clocks of two hosts may differ
    return Tallied(what, known, labels, bound=next(bound for bound in BOUNDS if known <= bound))


def is_first_claim(event_type: str, data: Mapping[str, Any]) -> bool:
    """Whether a job's event says that it waits no more, for the first time."""
    return event_type == "job.phase" and data.get("attempt") == 1


def ending(event_type: str) -> JobStatus | None:
    """How the job has ended of which this is told; None where it has not."""
    status = event_type.removeprefix("job.")
    return JobStatus(status) if status in ENDINGS else None


ENDINGS = frozenset(status for status in JobStatus if status.terminal)
_MARKS = {f"job.{status}" for status in JobStatus}


def in_phases(events: Iterable[Event]) -> dict[str, float]:
    """Seconds in each phase since the job was last begun anew, by its events in their order."""
    marks = [event for event in events if event.type == "job.phase" or event.type in _MARKS]
    spent: dict[str, float] = {}
    for mark, following in _of_last_attempt(marks):
        if mark.type == "job.phase":
            phase = str(mark.data.get("phase"))
            spent[phase] = spent.get(phase, 0.0) + (following.at - mark.at).total_seconds()
    return spent


def _of_last_attempt(marks: Sequence[Event]) -> list[tuple[Event, Event]]:
    """Each mark with the next one, after all ends but the one that the job has come to."""
    ends = [number for number, mark in enumerate(marks[:-1]) if ending(mark.type)]
    since = ends[-1] + 1 if ends else 0
    return list(zip(marks[since:], marks[since + 1 :], strict=False))
