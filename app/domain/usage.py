"""What somebody wants to know of the device seconds that were used, and what they hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Side(StrEnum):
    """By what device seconds are summed."""

    TEAM = "team"
    OWNER = "owner"
    MODEL = "model"
    OUTCOME = "outcome"
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True)
class UsageFilter:
    """Whole hours that begin in this time; of one team, or of all and of nobody."""

    since: datetime
    until: datetime
    by: tuple[Side, ...]
    team: str | None = None


@dataclass(frozen=True)
class UsageSum:
    """Device seconds of all that agree in these; None where it was not asked by."""

    device_seconds: float
    hour: datetime | None = None
    day: datetime | None = None
    team: str | None = None
    owner: str | None = None
    model: str | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class UsageReport:
    """The first sums, and how many and how much there are in all."""

    sums: Sequence[UsageSum]
    count: int
    device_seconds: float
