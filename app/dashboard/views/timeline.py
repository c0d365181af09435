"""Bars on a timeline: where they stand, in percent of a window around now, so that drawings stretch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from app.dashboard.words import TO

SIDE = timedelta(hours=3)
"""Of the window, before and after now."""
STEP_SECONDS = 30
"""So often the window moves: about a pixel."""
ROW = 22
"""Pixels of a device."""
LETTER = 6.5
"""Pixels of one, about."""
ALIKE = 1.0
"""Percent of the window by which bars of one job may differ that are drawn as one."""
LEAST = 0.15
"""Percent: what is shorter would not be seen."""
LEAST_NAMED = 1.5
"""Percent: a shorter bar has no room for a letter."""
NEAR = 12.0
"""Percent right of now that the word there covers where the page is narrow."""
NOW = 7.5
"""Percent that it covers where the page is wide."""
ROOM = 6.0
"""Percent that an hour takes."""
WORDS = {"past": "ended", "partially_failed": "partly failed", "foreign": "not to be used"}


@dataclass(frozen=True)
class LaneSpan:
    """The time that is drawn."""

    now: datetime
    begin: datetime
    end: datetime

    @classmethod
    def around(cls, now: datetime) -> LaneSpan:
        """Around now, to a step."""
        floor = datetime.fromtimestamp(now.timestamp() // STEP_SECONDS * STEP_SECONDS, UTC)
        return cls(floor, floor - SIDE, floor + SIDE)

    def x(self, moment: datetime) -> float:
        """Percent, cut to the window."""
        share = (moment - self.begin) / (self.end - self.begin)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    @property
    def ticks(self) -> list[tuple[float, str, bool]]:
        """Full hours: where, what, and whether it is near now."""
        first = self.begin.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        hours = [first + timedelta(hours=n) for n in range(7) if first + timedelta(hours=n) < self.end]
        places = [(x, f"{hour:%H:%M}" if _has_room(x) else "") for hour in hours for x in [self.x(hour)]]
        return [(x, text, 0 < x - 50 < NEAR) for x, text in places]


def _has_room(x: float) -> bool:
    """Whether an hour can be written there: not beside or under the word now, nor across the end."""
    return x < 100 - ROOM and not -ROOM < x - 50 < NOW


@dataclass(frozen=True)
class LaneBar:
    """Something that devices of a group did, do or will do; `rows` from `row` on."""

    kind: str
    text: str
    begin: datetime
    end: datetime
    row: int = 0
    rows: int = 1
    x: float = 0.0
    width: float = 0.0
    sub: str = ""
    href: str | None = None
    load: float = 0.0
    """Percent of the bar in which an engine was loaded."""
    done: float = 0.0
    """Percent of the bar from there to now."""
    early: datetime | None = None
    late: datetime | None = None
    whisker: tuple[float, float] | None = None
    seams: tuple[int, ...] = ()
    """Rows of the bar at which another replica begins."""

    @property
    def y(self) -> int:
        """Pixels from the top."""
        return ROW * (self.row + 1)

    @property
    def height(self) -> int:
        """Pixels."""
        return ROW * self.rows

    @property
    def named(self) -> bool:
        """Whether there is room for its name."""
        return self.width >= LEAST_NAMED

    @property
    def plate(self) -> int:
        """Pixels under its text."""
        longest = max(len(self.text), len(self.sub) if self.rows > 1 else 0)
        return round(LETTER * longest + 12)

    @property
    def gpus(self) -> str:
        """Numbers of its rows."""
        return str(self.row) if self.rows == 1 else f"{self.row}{TO}{self.row + self.rows - 1}"

    @property
    def until(self) -> str:
        """When it ends, as a range where that is not known."""
        if self.early and self.late:
            return f"{self.early:%H:%M}{TO}{self.late:%H:%M}"
        return f"{self.end:%H:%M}"

    @property
    def word(self) -> str:
        """Its state, for who does not see colours."""
        return WORDS.get(self.kind, self.kind)

    @property
    def label(self) -> str:
        """Everything about it in words."""
        shown = f"{self.text} {self.sub}" if self.sub and self.rows > 1 else self.text
        return f"{shown}, {self.word}, GPU {self.gpus}, {self.begin:%H:%M} to {self.until}"


def on_rows(bar: LaneBar, devices: Sequence[str], rows: Mapping[str, int]) -> list[LaneBar]:
    """The bar on its devices, in as many pieces as they do not stand beside each other in."""
    places = sorted(rows[device] for device in devices if device in rows)
    pieces: list[LaneBar] = []
    for place in places:
        if pieces and pieces[-1].row + pieces[-1].rows == place:
            pieces[-1] = replace(pieces[-1], rows=pieces[-1].rows + 1)
        else:
            pieces.append(replace(bar, row=place))
    return pieces


def drawn(bar: LaneBar, span: LaneSpan) -> LaneBar:
    """The bar where it stands in the window."""
    x, end = span.x(bar.begin), span.x(bar.end)
    whisker = (span.x(bar.early), span.x(bar.late)) if bar.early and bar.late else None
    return replace(bar, x=x, width=round(max(end - x, LEAST), 2), whisker=whisker)


def merged(bars: Sequence[LaneBar]) -> list[LaneBar]:
    """Those of one job on devices beside each other as one bar, with a seam between its replicas."""
    ordered = sorted(bars, key=lambda bar: (bar.kind, bar.text, bar.href or "", round(bar.x), bar.row))
    found: list[LaneBar] = []
    for bar in ordered:
        if found and _continues(found[-1], bar):
            found[-1] = replace(
                found[-1], rows=found[-1].rows + bar.rows, seams=(*found[-1].seams, found[-1].rows)
            )
        else:
            found.append(bar)
    return sorted(found, key=lambda bar: (bar.x, bar.row))


def _continues(above: LaneBar, bar: LaneBar) -> bool:
    same = (above.kind, above.text, above.href) == (bar.kind, bar.text, bar.href)
    beside = above.row + above.rows == bar.row
    alike = abs(above.x - bar.x) < ALIKE and abs(above.width - bar.width) < ALIKE
    return same and beside and alike and bar.kind != "foreign"
