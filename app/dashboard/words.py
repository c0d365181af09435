"""Values as pages say them: text that others wrote, times, durations, numbers."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad"
    r"\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters but newline and tab, what turns the direction of a line, what has no width, half characters."""
_SHOWN = re.compile(rf"({_UNSEEN.pattern})\1*")
_BREAK = re.compile(r"(?<=[_/])(?=.)")
_NAMED = {
    "\x00": "NUL",
    "\x07": "BEL",
    "\x08": "BS",
    "\x0b": "VT",
    "\x0c": "FF",
    "\x1b": "ESC",
    "\x7f": "DEL",
    "\xad": "SHY",
    "\u061c": "ALM",
    "\u200b": "ZWSP",
    "\u200c": "ZWNJ",
    "\u200d": "ZWJ",
    "\u200e": "LRM",
    "\u200f": "RLM",
    "\u2028": "LS",
    "\u2029": "PS",
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202c": "PDF",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u2060": "WJ",
    "\u2066": "LRI",
    "\u2067": "RLI",
    "\u2068": "FSI",
    "\u2069": "PDI",
    "\ufeff": "BOM",
}
MOST_ALIKE = 4
"""In a row, each shown by itself."""
NOTHING = "\u2013"
"""Holds the place of a number that is not known."""
TO, BY, DOT = "\u2013", "\u00d7", "\u00b7"
"""Between the ends of a range; between a number and what there are so many of; between parts of a line."""


def plain(value: str) -> str:
    """A text with what cannot be seen written out, for attributes and for what no filter was thought of."""
    return _UNSEEN.sub(lambda found: f"[{_called(found[0])}]", _lines(value))


def seen(value: str) -> Markup:
    """A text that others wrote, with what cannot be seen made visible."""
    return Markup(_SHOWN.sub(_shown, str(escape(_lines(value)))))  # noqa: S704 - escaped, and _shown has no text


def named(value: str) -> Markup:
    """A name that others gave: alone in its direction, and long ones may be broken behind `_` and `/`."""
    broken = _BREAK.sub("<wbr>", str(escape(_lines(value))))
    return Markup(f"<bdi>{_SHOWN.sub(_shown, broken)}</bdi>")  # noqa: S704 - as in `seen`


def as_json(value: Any) -> str:
    """JSON to read and to change, in which what cannot be seen is written as JSON writes it."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _called(character: str) -> str:
    return _NAMED.get(character, f"U+{ord(character):04X}")


def _shown(found: re.Match[str]) -> str:
    """A character in a row of its like; a row of many stands once, with how many they are."""
    character, count = found[1], len(found[0])
    one = f'<span class="ctl" title="U+{ord(character):04X}">{_called(character)}</span>'
    return one * count if count <= MOST_ALIKE else f'{one}<span class="ctl">{BY}{count:,}</span>'


def when(moment: datetime | None, now: datetime, before: str = "") -> Markup:
    """How long ago, or in how long, with the exact time on hover."""
    if moment is None:
        return escape(NOTHING)
    return _timed(moment, f"{before} {_away(now - moment)}".strip())


def since(moment: datetime | None, now: datetime) -> Markup:
    """For how long it has been so, with the exact beginning on hover."""
    return _timed(moment, coarse((now - moment).total_seconds()) if moment else NOTHING)


def minute(moment: datetime) -> Markup:
    """The time of day to the minute, with the day on hover."""
    return _timed(moment, f"{moment.astimezone(UTC):%H:%M}")


def until(begin: datetime | None, end: datetime | None) -> str:
    """How long it was from one moment to another."""
    return duration((end - begin).total_seconds() if begin and end else None)


def _timed(moment: datetime | None, told: str) -> Markup:
    if moment is None:
        return escape(told)
    utc = moment.astimezone(UTC)
    day, time = f"{utc:%Y-%m-%d %H:%M:%S}".split(" ")
    return Markup(f'<time datetime="{day}T{time}Z" title="{day} {time} UTC">{escape(told)}</time>')  # noqa: S704


def clock(moment: datetime) -> Markup:
    """The time of day, with the day on hover."""
    return _timed(moment, f"{moment.astimezone(UTC):%H:%M:%S}")


def _away(ago: timedelta) -> str:
    seconds = ago.total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{coarse(seconds)} ago" if seconds > 0 else f"in {coarse(-seconds)}"


def coarse(seconds: float) -> str:
    """So long, to the second at first and to the minute later: what goes on need not be told anew each second."""
    return duration(float(int(seconds)) if seconds < 60 else seconds // 60 * 60)


def duration(seconds: float | None) -> str:
    """So long, in its two largest units."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s".replace(".0 s", " s")
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left = round(seconds)
    told: list[tuple[int, str]] = []
    for name, size in units:
        if left >= size or told:
            told.append((left // size, name))
            left %= size
    return " ".join(f"{number} {name}" for number, name in told[:2] if number)


def range_of(low: float | None, high: float | None) -> str:
    """A range of seconds, in one unit where both have it; what is not known is none."""
    if low is None or high is None:
        return NOTHING if low is None else f"over {duration(_about(low))}"
    first, last = duration(_about(low)), duration(_about(high))
    if first == last:
        return first
    unit = last.rpartition(" ")[2]
    same = first.count(" ") == last.count(" ") == 1 and first.endswith(f" {unit}")
    return f"{first.rpartition(' ')[0]}{TO}{last}" if same else f"{first} {TO} {last}"


def _about(seconds: float) -> float:
    """As finely as an estimate may be told: minutes from one on, seconds before."""
    return round(seconds) if seconds < 60 else round(seconds / 60) * 60


def number(value: float | None) -> str:
    """With commas between thousands; a fraction only where it tells something."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1 or value == 0 else f"{value:.2g}"


def score(value: float | None) -> str:
    """To three places; a perplexity of thousands, which nobody compares so finely, to none."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if abs(value) < 10_000 else f"{value:,.0f}"
