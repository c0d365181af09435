"""Two schedulers: one leads, and the other takes over from one that died or froze."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.db.session import make_engine
from app.scheduler import _turns, lead
from app.settings import Settings
from tests.waiting import until


@pytest.fixture
def engines(settings: Settings) -> Iterator[list[Engine]]:
    """The connections of two schedulers."""
    made = [make_engine(settings), make_engine(settings)]
    yield made
    for engine in made:
        engine.dispose()


def test_one_of_two_schedulers_leads(engines: list[Engine]) -> None:
    with engines[0].connect() as first, engines[1].connect() as second:
        assert lead(first)
        assert not lead(second)
        assert lead(first), "safe to repeat"


def test_the_other_leads_when_the_first_dies(engines: list[Engine]) -> None:
    with engines[0].connect() as first, engines[1].connect() as second:
        assert lead(first)
        first.invalidate()
        until(lambda: lead(second))


def test_the_other_leads_when_the_first_freezes(engines: list[Engine]) -> None:
    with engines[0].connect() as first, engines[1].connect() as second:
        assert lead(first, frozen_seconds=0.1)
        until(lambda: lead(second))
        with pytest.raises(OperationalError):
            lead(first)
        first.invalidate()


class Steps:
    """A service whose steps remember when they were taken."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.announced = 0
        self.expired_at = 0.0

    def place_once(self) -> None:
        raise OperationalError("UPDATE devices", {}, Exception("deadlock detected"))

    def announce_once(self) -> None:
        self.announced += 1

    def tidy_once(self) -> None:
        """Nothing is left over."""

    def sweep_once(self) -> None:
        """Nothing is old."""

    def expire_once(self) -> None:
        self.expired_at = time.monotonic()
        self._stop.set()


def test_nothing_expires_before_a_new_leader_has_waited_one_time_to_live(settings: Settings) -> None:
    quick = settings.model_copy(update={"lease_seconds": 0.3, "schedule_seconds": 0.01})
    stop = threading.Event()
    steps, began_at = Steps(stop), time.monotonic()
    _turns(steps, quick, stop, lambda: None)  # type: ignore[arg-type]
    assert steps.expired_at - began_at >= 0.3


def test_a_step_that_fails_holds_up_no_other(settings: Settings) -> None:
    stop = threading.Event()
    steps = Steps(stop)
    _turns(steps, settings.model_copy(update={"lease_seconds": 0.0}), stop, lambda: None)  # type: ignore[arg-type]
    assert steps.announced
