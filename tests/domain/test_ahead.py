"""Who stands before a job in the line, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.ahead import Queued, Why, ranks, why
from app.domain.ids import uuid7
from app.domain.line import InLine, Sharing, in_line

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def job(minute: int, owner: str = "alice", priority: int = 50, seconds: float | None = None) -> InLine:
    return InLine(uuid7(), "team", owner, priority, NOON + timedelta(minutes=minute), seconds)


def test_each_job_ahead_has_its_reason() -> None:
    urgent, others, short, early, last = (
        job(9, priority=90),
        job(8, "bob"),
        job(7, seconds=1.0),
        job(1),
        job(6, seconds=9e5),
    )
    line = [Queued(each) for each in (urgent, others, short, early, last)]
    assert [why(each.job, line[4]) for each in line[:4]] == [
        Why.PRIORITY,
        Why.SHARE,
        Why.SHORTER,
        Why.EARLIER,
    ]
    assert [place.position for place in ranks(line)] == [1, 2, 3, 4, 5]
    assert ranks(line)[-1].ahead == dict.fromkeys(Why, 1)
    assert ranks(line)[0].ahead == {}


def test_a_job_that_was_not_weighed_yet_stands_behind_those_that_came_before() -> None:
    line = [Queued(job(1, priority=90)), Queued(job(2, "bob")), Queued(job(3), weighed=False)]
    assert ranks(line)[-1].ahead == {Why.PRIORITY: 1, Why.EARLIER: 1}
    assert why(line[1].job, line[2]) is Why.EARLIER


JOBS = st.lists(
    st.builds(
        job,
        st.integers(0, 20),
        st.sampled_from(["alice", "bob", "carol"]),
        st.sampled_from([10, 50]),
        st.none() | st.floats(0, 1e4),
    ),
    max_size=20,
)


@given(JOBS, st.integers(0, 20))
def test_reasons_are_counted_as_they_are_told(jobs: list[InLine], weighed: int) -> None:
    ordered = in_line(jobs, {}, Sharing())
    line = [Queued(each, at < weighed) for at, each in enumerate(ordered)]
    for at, place in enumerate(ranks(line)):
        told = [why(first.job, line[at]) for first in line[:at]]
        assert place.ahead == {each: told.count(each) for each in Why if each in told}
        assert sum(place.ahead.values()) == place.position - 1 == at
