"""What is counted for good, and where a job's time went."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.event import Event
from app.domain.job import JobStatus
from app.domain.tally import BOUNDS, Counted, ending, in_phases, is_first_claim, lasted

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def told(*events: tuple[float, str]) -> list[Event]:
    """Events at these seconds; a bare word is a phase that begins."""
    return [
        Event(
            number,
            NOON + timedelta(seconds=seconds),
            f"job.{what}" if "." not in what and what not in {"loading", "scoring"} else "job.phase",
            {"phase": what} if what in {"loading", "scoring"} else {},
        )
        for number, (seconds, what) in enumerate(events, 1)
    ]


def test_a_phase_lasts_until_the_next_or_the_end() -> None:
    events = told((0, "queued"), (5, "loading"), (15, "scoring"), (18, "succeeded"))
    assert in_phases(events) == {"loading": 10, "scoring": 3}


def test_a_phase_entered_twice_is_added_up_and_waiting_is_in_none() -> None:
    events = told(
        (0, "queued"), (1, "loading"), (3, "paused"), (50, "queued"), (90, "loading"), (94, "failed")
    )
    assert in_phases(events) == {"loading": 6}


def test_warnings_and_retries_end_no_phase() -> None:
    events = told((0, "loading"), (2, "warning"), (3, "retrying"), (10, "cancelled"))
    assert in_phases(events) == {"loading": 10}


def test_a_job_that_is_retried_counts_what_came_since() -> None:
    first = [(0.0, "loading"), (100.0, "failed"), (200.0, "queued")]
    assert in_phases(told(*first, (300, "loading"), (307, "succeeded"))) == {"loading": 7}


def test_a_job_that_never_ran_was_in_no_phase() -> None:
    assert in_phases(told((0, "queued"), (9, "cancelled"))) == {}
    assert in_phases([]) == {}


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0, 1), (1, 1), (1.001, 5), (86400, 86400), (1e9, math.inf), (-3, 1)]
)
def test_a_duration_is_sorted_under_the_least_bound_that_holds_it(seconds: float, bound: float) -> None:
    tally = lasted(Counted.PHASE, seconds, phase="loading")
    assert (tally.bound, tally.amount, tally.times) == (bound, max(seconds, 0), 1)
    assert list(BOUNDS) == sorted(BOUNDS)


def test_only_ends_are_ends() -> None:
    ends = {status for status in JobStatus if ending(f"job.{status}")}
    assert ends == {status for status in JobStatus if status.terminal}
    assert ending("job.phase") is None
    assert ending("replica.ended") is None


def test_a_job_waits_until_it_is_first_claimed() -> None:
    assert is_first_claim("job.phase", {"phase": "preparing", "attempt": 1})
    assert not is_first_claim("job.phase", {"phase": "preparing", "attempt": 2})
    assert not is_first_claim("job.phase", {"phase": "preparing"})
    assert not is_first_claim("job.warning", {"attempt": 1})
