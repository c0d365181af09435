"""What came of device seconds, on invented times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ledger import HOUR, NOBODY, Outcome, Span, last_of
from app.domain.line import Account
from app.domain.replica import ReplicaStatus

START = datetime(2026, 1, 1, 9, 50, tzinfo=UTC)
ALICE = ("research", "alice")


def span(seconds: float, devices: int = 1) -> Span:
    return Span(START, START + timedelta(seconds=seconds), devices)


def test_an_answer_is_of_use_for_as_long_as_it_took_and_the_rest_was_idle() -> None:
    charges = span(10, devices=2).answered(7, ALICE)
    assert [(each.outcome, each.account, each.seconds) for each in charges] == [
        (Outcome.IDLE, NOBODY, 6.0),
        (Outcome.USEFUL, ALICE, 14.0),
    ]


@pytest.mark.parametrize(
    ("said", "counted"), [(-5.0, 0.0), (float("nan"), 0.0), (1e300, 10.0), (float("inf"), 10.0)]
)
def test_no_answer_takes_less_than_nothing_or_longer_than_there_was(said: float, counted: float) -> None:
    useful = [each.seconds for each in span(10).answered(said, ALICE) if each.outcome is Outcome.USEFUL]
    assert sum(useful) == counted


def test_each_hour_is_charged_what_fell_into_it() -> None:
    charges = span(2 * 3600).charged(Outcome.LOADING)
    assert [(each.hour.hour, each.seconds) for each in charges] == [(9, 600.0), (10, 3600.0), (11, 3000.0)]


@pytest.mark.parametrize(
    ("status", "loaded", "early", "working_for", "was"),
    [
        (ReplicaStatus.RELEASED, False, False, None, (Outcome.LOADING, NOBODY)),
        (ReplicaStatus.FAILED, False, False, None, (Outcome.FAILED, NOBODY)),
        (ReplicaStatus.LOST, False, False, None, (Outcome.FAILED, NOBODY)),
        (ReplicaStatus.RELEASED, True, False, None, (Outcome.IDLE, NOBODY)),
        (ReplicaStatus.LOST, True, False, None, (Outcome.IDLE, NOBODY)),
        (ReplicaStatus.FAILED, True, False, ALICE, (Outcome.FAILED, ALICE)),
        (ReplicaStatus.RELEASED, True, False, ALICE, (Outcome.FAILED, ALICE)),
        (ReplicaStatus.RELEASED, True, True, None, (Outcome.LOADING, NOBODY)),
        (ReplicaStatus.FAILED, False, True, None, (Outcome.FAILED, NOBODY)),
        (ReplicaStatus.RELEASED, True, True, ALICE, (Outcome.FAILED, ALICE)),
    ],
)
def test_the_time_before_an_end_was_for_what_it_had_in_hand(
    status: ReplicaStatus,
    loaded: bool,
    early: bool,
    working_for: Account | None,
    was: tuple[Outcome, Account],
) -> None:
    assert last_of(status, loaded=loaded, early=early, working_for=working_for) == was


@given(st.floats(0, 1e5), st.integers(1, 64), st.floats(-10, 2e5))
def test_whatever_is_said_a_span_is_charged_once(seconds: float, devices: int, said: float) -> None:
    whole = span(seconds, devices)
    for charges in (whole.answered(said, ALICE), whole.charged(Outcome.FAILED, ALICE)):
        assert sum(each.seconds for each in charges) == pytest.approx(
            (whole.until - whole.since).total_seconds() * devices
        )
        assert all(0 < each.seconds <= HOUR.total_seconds() * devices for each in charges)
        keys = [(each.hour, each.account, each.outcome) for each in charges]
        assert len(set(keys)) == len(keys), "one row each"
