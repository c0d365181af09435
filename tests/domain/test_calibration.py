"""Ranges that are learnt from how earlier ones fared."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.calibration import LEAST, Calibration, Fared, step
from app.domain.forecast import TIMES, Forecast

SECONDS = st.floats(0, 1e6)


def _in_order(times: list[float], found: float) -> Fared:
    low, start, high = sorted(times)
    return Fared(low, start, high, found)


FARED = st.builds(_in_order, st.lists(SECONDS, min_size=3, max_size=3), SECONDS)


def told(start: float) -> Forecast:
    """Within a factor of 1.25."""
    return Forecast(start / 1.25, start, start * 1.25, start + 100, start + 200, start + 300, ("a-0",))


def drawn(random: Random, sigma: float) -> Fared:
    start = random.choice((30.0, 300.0, 3000.0)) * random.lognormvariate(0, 0.5)
    found = told(start)
    assert found.start_low is not None
    assert found.start_high is not None
    return Fared(found.start_low, start, found.start_high, start * random.lognormvariate(0, sigma))


@pytest.mark.parametrize("known", [LEAST, 60, 500])
@pytest.mark.parametrize("sigma", [0.05, 0.7, 2.0])
def test_nine_of_ten_lie_inside_however_wrong_forecasts_are(known: int, sigma: float) -> None:
    random, inside = Random(f"{known} {sigma}"), 0
    for _ in range(300):
        learnt, new = Calibration(drawn(random, sigma) for _ in range(known)), drawn(random, sigma)
        found = learnt.widened(told(new.start))
        assert found.start_low is not None
        assert found.start_high is not None
        inside += found.start_low <= new.found <= found.start_high
    assert inside >= 0.88 * 300


@given(st.lists(FARED, max_size=60), SECONDS)
def test_a_range_only_widens_and_stays_in_order(fared: list[Fared], start: float) -> None:
    before, after = told(start), Calibration(fared).widened(told(start))
    assert after.start == before.start
    assert after.end == before.end
    lows, highs = ("start_low", "end_low"), ("start_high", "end_high")
    assert all(0 <= getattr(after, name) <= getattr(before, name) * (1 + 1e-9) for name in lows)
    assert all(getattr(after, name) >= getattr(before, name) for name in highs)
    assert after.devices == before.devices


@given(st.lists(FARED, max_size=LEAST - 1), SECONDS)
def test_from_few_nothing_is_learnt(fared: list[Fared], start: float) -> None:
    assert Calibration(fared).widened(told(start)) == told(start)


def test_what_is_not_known_stays_so() -> None:
    learnt = Calibration([Fared(80, 100, 125, 5000)] * 50)
    assert learnt.widened(Forecast()) == Forecast()
    open_end = Forecast(start_low=80, start=100)
    found = learnt.widened(open_end)
    assert [getattr(found, name) for name in TIMES] == [80, 100, None, None, None, None]


def test_it_is_asked_what_was_told_about_the_same() -> None:
    short, long = [Fared(8, 10, 12, 10)] * 100, [Fared(800, 1000, 1250, 10_000)] * 100
    learnt = Calibration([*long, *short])
    assert learnt.widened(told(10)) == told(10)
    assert learnt.widened(told(1000)).start_high == pytest.approx(10_000, rel=0.01)
    right, wrong = [Fared(800, 1000, 1250, 1000)] * 100, [Fared(8, 10, 12, 10_000)] * 100
    assert Calibration([*right, *wrong]).widened(told(1000)) == told(1000)


def test_a_job_is_noted_again_when_it_is_told_half_as_much() -> None:
    assert [step(seconds) for seconds in (0, 9, 11, 29, 31, 10_000)] == [0, 0, 1, 1, 2, 9]
