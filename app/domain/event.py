"""One entry of a job's log, and its place among those of all jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.job_filter import Subject


@dataclass(frozen=True)
class Event:
    """What happened to a job; numbers are dense and in the order of commits."""

    id: int
    at: datetime
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class SerialEvent:
    """What happened to one of all jobs."""

    serial: int
    """Its place among the events of all jobs: of one job they are in the order of their numbers."""
    job: Subject
    event: Event


@dataclass(frozen=True)
class EventPage:
    """Events of all jobs, in their order."""

    events: Sequence[SerialEvent]
    position: int
    """Nothing comes up to here any more: who goes on from it misses nothing, and sees nothing twice."""
    more: bool
    """There may be some behind it already."""
