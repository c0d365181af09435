"""One entry of a job's log, and its place among those of all jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.job_filter import Subject


@dataclass(frozen=True)
class Event:
    """What happened to a job; numbers are dense and in the order of commits."""

    id: int
    at: datetime
    type: str
    data: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, eq=False)
class SerialEvent:
    """What happened to one of all jobs."""

    serial: int
    """Its place among the events of all jobs: of one job they are in the order of their numbers."""
    job: Subject
    event: Event

    @property
    def ends(self) -> bool:
        """The job is over and this is the last that happened to it."""
        return self.job.status.terminal and self.event.id == self.job.last


@dataclass(frozen=True)
class EventPage:
    """Events of all jobs, in their order."""

    events: Sequence[SerialEvent]
    position: int
    """Nothing comes up to here any more: who goes on from it misses nothing, and sees nothing twice."""
    more: bool
    """There may be some behind it already."""
