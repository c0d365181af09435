"""A job's pace, by a clock that the test turns."""

from __future__ import annotations

import pytest

from workers.coordinator.progress import UNKNOWN, Rates


def test_nothing_is_told_before_a_pace_was_measured() -> None:
    rates = Rates()
    rates.plan(1000.0)
    assert rates.at(0.0, 0) == UNKNOWN
    rates.add_tokens(100.0)
    rates.restart()
    assert rates.at(120.0, 4) == UNKNOWN, "it loaded for two minutes"
    rates.add_tokens(100.0)
    assert rates.at(121.0, 8) == {
        "requests_per_second": 4.0,
        "tokens_per_second": 100.0,
        "eta_seconds": 8.0,
    }


def test_an_estimate_holds_where_the_longest_come_first() -> None:
    chunks = [400.0, 300.0, 200.0, 50.0, 30.0, 10.0, 10.0]
    rates = Rates()
    rates.plan(sum(chunks))
    now, ends = 0.0, []
    for done, tokens in enumerate(chunks):
        now += tokens / 100.0
        rates.add_tokens(tokens)
        left = rates.at(now, 8 * (done + 1))["eta_seconds"]
        ends += [] if left is None else [now + left]
    assert ends == pytest.approx([10.0] * (len(chunks) - 1))


def test_what_failed_is_not_waited_for() -> None:
    rates = Rates()
    rates.plan(100.0)
    rates.at(0.0, 0)
    rates.add_tokens(40.0, failed=60.0)
    assert rates.at(1.0, 10)["eta_seconds"] == 0.0


def test_an_old_pace_is_forgotten() -> None:
    rates = Rates()
    rates.plan(1e6)
    for now in range(0, 200, 10):
        rates.add_tokens(10.0 if now < 100 else 1000.0)
        told = rates.at(float(now), now + 1)
    assert told["tokens_per_second"] == 100.0


def test_a_long_generation_moves_tokens_and_time_left_before_it_ends() -> None:
    rates = Rates()
    rates.plan(1000.0)
    rates.at(0.0, 0)
    assert rates.at(10.0, 0, ahead=100.0) == {
        "requests_per_second": None,
        "tokens_per_second": 10.0,
        "eta_seconds": 90.0,
    }
    rates.add_tokens(400.0)
    assert rates.at(20.0, 1) == {"requests_per_second": 0.05, "tokens_per_second": 20.0, "eta_seconds": 30.0}


def test_a_pace_goes_back_to_the_last_answer_where_that_is_long_ago() -> None:
    rates = Rates()
    rates.plan(1e4)
    for now in range(101):
        told = rates.at(float(now), 1 if now > 50 else 0, ahead=float(now))
    assert told["requests_per_second"] == 0.02
    for now in range(101, 140):
        told = rates.at(float(now), 2, ahead=float(now))
    assert told["requests_per_second"] == 0.03, "since the one before"
