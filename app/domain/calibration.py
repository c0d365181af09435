"""How wide the range of a start must be to hold it: learnt from what jobs were told before, and when they began.

Split-conformal: of starts like those of before, nine of ten lie inside, whatever made the forecasts wrong.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, log, log2

from app.domain.forecast import Forecast

UNFELT = 10.0
"""Seconds that nobody minds: of shorter waits no factor is told."""

LEAST, NEAREST = 30, 100
"""So many must be known before ranges change; of those that were told about the same, so many are asked."""

LEVEL = 0.96
"""Of the starts are not before what is told as the soonest, and as many not after the latest."""


@dataclass(frozen=True)
class Fared:
    """What a job was told, and what was found: seconds. `found` may be what it has waited, beyond `high`."""

    low: float
    start: float
    high: float
    found: float

    @property
    def sooner(self) -> float:
        """By such a factor it began before the range; below 1 it did not."""
        return _felt(self.low) / _felt(self.found)

    @property
    def later(self) -> float:
        """By such a factor it began after the range; below 1 it did not."""
        return _felt(self.found) / _felt(self.high)


class Calibration:
    """Of what fared like it, a forecast takes its range."""

    def __init__(self, fared: Iterable[Fared] = ()) -> None:
        self._fared = sorted(fared, key=lambda each: each.start)
        self._starts = [log(_felt(each.start)) for each in self._fared]

    def widened(self, told: Forecast) -> Forecast:
        """The same in a range that holds the start as often as it should; never narrower than it was."""
        if told.start is None or told.start_low is None or len(self._fared) < LEAST:
            return told
        like = self._like(told.start)
        sooner, later = _factor([each.sooner for each in like]), _factor([each.later for each in like])
        low = max(_felt(told.start_low) / sooner - UNFELT, 0.0)
        lower = max(told.start_low - low, 0.0)
        higher = 0.0 if told.start_high is None else _felt(told.start_high) * (later - 1)
        return replace(
            told,
            start_low=told.start_low - lower,
            start_high=None if told.start_high is None else told.start_high + higher,
            end_low=None if told.end_low is None else max(told.end_low - lower, 0.0),
            end_high=None if told.end_high is None else told.end_high + higher,
        )

    def _like(self, start: float) -> Sequence[Fared]:
        """Those whose middle was nearest, by the factor between the two."""
        at = log(_felt(start))
        place = bisect_left(self._starts, at)
        around = range(max(place - NEAREST, 0), min(place + NEAREST, len(self._starts)))
        nearest = sorted(around, key=lambda number: abs(self._starts[number] - at))
        return [self._fared[number] for number in nearest[:NEAREST]]


def step(start: float) -> int:
    """Doubles of the seconds: a job is noted once for each that it is told, however long it waits."""
    return int(log2(_felt(start) / UNFELT))


def _felt(seconds: float) -> float:
    return max(seconds, 0.0) + UNFELT


def _factor(missed: Sequence[float]) -> float:
    """The next one is as small as this at the level, if it is one like these."""
    rank = min(ceil((len(missed) + 1) * LEVEL), len(missed))
    return max(sorted(missed)[rank - 1], 1.0)
