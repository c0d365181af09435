"""Device-hours as a page tells them: what came of them, by day, and by whose they were."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from app.domain.ledger import Outcome
from app.domain.usage import Side, UsageSum

HOUR_SECONDS = 3600
MOST_COLUMNS = 92
"""Days that are drawn."""
OUTCOMES = (
    (Outcome.USEFUL, "Useful", "c-useful", "answers that were kept"),
    (Outcome.LOADING, "Loading", "c-hatch", "models read into memory"),
    (Outcome.FAILED, "Failed", "c-lost", "answers that were lost"),
    (Outcome.IDLE, "Idle", "c-idle", "engines with nothing to do"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Line:
    """Hours of all that share a name."""

    name: str
    hours: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Of all outcomes."""
        return sum(self.hours.values())


@dataclass(frozen=True)
class UsagePart:
    """A part of a column or a line, in percent."""

    cls: str
    at: float
    size: float


def lines_of(sums: Iterable[UsageSum], side: Side) -> list[Line]:
    """Hours by the names of one side, the most first; nobody's are the last."""
    found = _added(sums, side)
    return sorted(found.values(), key=lambda line: (line.name == "", -line.total, line.name))


def days_of(sums: Iterable[UsageSum]) -> list[Line]:
    """Hours by day in the order of time; of not too long a time those between without any, too."""
    found = _added(sums, Side.DAY)
    days = [date.fromisoformat(day) for day in sorted(found)]
    whole = (days[-1] - days[0]).days + 1 if days else 0
    if whole > MOST_COLUMNS:
        return [found[f"{day}"] for day in days]
    between = [f"{days[0] + timedelta(days=at)}" for at in range(whole)]
    return [found.get(day, Line(day)) for day in between]


def told(hours: float) -> str:
    """Hours to a place; what was little is not told as nothing."""
    return "<0.1" if 0 < hours < 0.05 else f"{hours:,.1f}"


def _added(sums: Iterable[UsageSum], side: Side) -> dict[str, Line]:
    found: dict[str, Line] = {}
    for each in sums:
        value = getattr(each, side)
        name = value.date().isoformat() if isinstance(value, datetime) else value or ""
        hours = found.setdefault(name, Line(name)).hours
        outcome = each.outcome or ""
        hours[outcome] = hours.get(outcome, 0.0) + each.device_seconds / HOUR_SECONDS
    return found


def whole_of(lines: Iterable[Line]) -> Line:
    """All of them together."""
    found = Line("")
    for line in lines:
        for outcome, hours in line.hours.items():
            found.hours[outcome] = found.hours.get(outcome, 0.0) + hours
    return found


def bars_of(line: Line, most: float) -> list[UsagePart]:
    """A line of the table drawn, each outcome behind the one before; the longest line is as wide as its place."""
    at, bars = 0.0, []
    for outcome, _, cls, _ in OUTCOMES:
        size = 100 * line.hours.get(outcome, 0.0) / most if most else 0.0
        bars.append(UsagePart(cls, round(at, 2), round(size, 2)))
        at += size
    return [bar for bar in bars if bar.size]


def columns_of(days: Sequence[Line]) -> list[tuple[float, float, list[UsagePart]]]:
    """A column for each day: its place and width, and its parts from the ground up."""
    most, room = max((day.total for day in days), default=0.0), 100 / max(len(days), 1)
    return [
        (
            round(at * room + 0.08 * room, 2),
            round(0.84 * room, 2),
            [UsagePart(bar.cls, round(100 - bar.at - bar.size, 2), bar.size) for bar in bars_of(day, most)],
        )
        for at, day in enumerate(days)
    ]


def as_csv(sums: Iterable[UsageSum]) -> str:
    """A line for each sum; a name that a sheet would compute stands behind an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["day", "team", "owner", "model", "outcome", "device_hours"])
    for each in sums:
        day = each.day.date().isoformat() if each.day else ""
        names = [each.team or "", each.owner or "", each.model or "", each.outcome or ""]
        writer.writerow([day, *map(_cell, names), f"{each.device_seconds / HOUR_SECONDS:.6f}"])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
