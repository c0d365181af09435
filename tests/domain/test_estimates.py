"""What jobs are told of when they begin and end, from what engines took before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.demands import NOTHING_LEARNT, Learnt
from app.domain.estimates import GUESSED, KNOWN, LIKE, Estimates, Habits, Outstanding, later
from app.domain.forecast import Forecast
from app.domain.line import TYPICAL_SECONDS, InLine
from tests.jobs import submission
from tests.world import ENGINE

NOW = datetime(2026, 11, 22, tzinfo=UTC)
JOB = UUID(int=1)
BUILT = Outstanding(InLine(JOB, "t", "alice", 50, NOW), ENGINE, submission().plan, True, 4, 1000.0)
NEW = replace(BUILT, prepared=False, chunks=0, cost=0.0)
HABITS = Habits(Learnt(30.0, 50.0), 200.0, 12.0)
LOAD = timedelta(seconds=20)


@pytest.mark.parametrize(
    ("job", "own", "habits", "takes"),
    [
        (BUILT, Learnt(10.0, 100.0), HABITS, (10.0, 10.0, KNOWN)),
        (BUILT, NOTHING_LEARNT, HABITS, (20.0, 30.0, LIKE)),
        (BUILT, NOTHING_LEARNT, Habits(), (TYPICAL_SECONDS, 20.0, GUESSED)),
        (NEW, Learnt(10.0, 100.0), HABITS, (200.0, 10.0, GUESSED)),
        (NEW, NOTHING_LEARNT, Habits(), (TYPICAL_SECONDS, 20.0, GUESSED)),
    ],
)
def test_work_takes_what_it_took_before(
    job: Outstanding, own: Learnt, habits: Habits, takes: tuple[float, float, float]
) -> None:
    work = job.work(own, habits, LOAD)
    assert (work.seconds, work.load_seconds, work.spread) == takes
    assert work.demand.waiting_chunks > 0
    assert work.demand.waiting_cost > 0
    assert (work.demand.claims[0].job, work.demand.engine) == (JOB, ENGINE)


def test_the_rules_know_of_an_engine_what_the_scheduler_knows() -> None:
    """Others' pace says how long a job takes; the scheduler decides without it until the engine was loaded once."""
    alike, own = (BUILT.work(learnt, HABITS, LOAD, 20.0) for learnt in (NOTHING_LEARNT, Learnt(10.0, 100.0)))
    assert (alike.demand.load_seconds, alike.demand.speed) == (None, None)
    assert (own.demand.load_seconds, own.demand.speed) == (10.0, 100.0)
    assert alike.line.seconds == 50.0, "by the usual speed"
    assert BUILT.work(NOTHING_LEARNT, HABITS, LOAD).line.seconds is None
    assert NEW.work(NOTHING_LEARNT, HABITS, LOAD, 20.0).line.seconds is None, "what it asks is not known"
    telling = replace(BUILT, line=replace(BUILT.line, seconds=7.0))
    assert telling.work(NOTHING_LEARNT, HABITS, LOAD, 20.0).line.seconds == 7.0


FOUND = Forecast(5.0, 10.0, None, 20.0, 30.0, None)


def test_a_job_begins_no_sooner_than_its_prompts_are_built() -> None:
    assert NEW.told(FOUND, HABITS) == Forecast(7.0, 12.0, None, 22.0, 32.0, None)
    assert NEW.told(FOUND, Habits()) == FOUND
    assert NEW.told(Forecast(), HABITS) == Forecast()
    assert BUILT.told(FOUND, HABITS) == FOUND


def test_what_was_told_comes_nearer_and_is_forgotten() -> None:
    known = Estimates(NOW, {JOB: FOUND, UUID(int=2): Forecast()})
    assert known.of(JOB, NOW) == FOUND
    assert known.of(JOB, NOW + timedelta(seconds=7)) == Forecast(0.0, 3.0, None, 13.0, 23.0, None)
    assert known.of(JOB, NOW + timedelta(seconds=61)) is None
    assert known.of(UUID(int=2), NOW) is None, "nothing there can run it"
    assert known.of(UUID(int=3), NOW) is None


def test_nothing_lies_in_the_past() -> None:
    assert later(FOUND, -1e6) == Forecast(0.0, 0.0, None, 0.0, 0.0, None)
