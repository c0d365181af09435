"""The turns of the scheduler that leads."""

from __future__ import annotations

import threading
import time

import pytest

from app.errors import DatabaseError, DatabaseRefusedError, DatabaseUnreachableError
from app.scheduler import _turns
from app.settings import Settings


class Steps:
    """A service whose steps remember when they were taken."""

    def __init__(self, stop: threading.Event, error: DatabaseError) -> None:
        self._stop = stop
        self._error = error
        self.announced = 0
        self.expired_at = 0.0

    def book_once(self) -> None:
        """Nothing was charged."""

    def at_rest(self) -> bool:
        return False

    def settle_once(self) -> None:
        """Nobody began."""

    def line_up_once(self) -> None:
        raise OverflowError("date value out of range")

    def place_once(self) -> None:
        raise self._error

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
    steps, began_at = Steps(stop, DatabaseUnreachableError("deadlock detected")), time.monotonic()
    _turns(steps, quick, stop, lambda: None)  # type: ignore[arg-type]
    assert steps.expired_at - began_at >= 0.3


class AtRest(Steps):
    """A service with nothing to do, until it is asked a third time."""

    asked = 0

    def at_rest(self) -> bool:
        self.asked += 1
        return self.asked < 3


def test_where_nothing_goes_on_nothing_is_placed_or_expired(settings: Settings) -> None:
    quick = settings.model_copy(update={"lease_seconds": 0.0, "schedule_seconds": 0.01})
    stop = threading.Event()
    steps = AtRest(stop, DatabaseUnreachableError("away"))
    _turns(steps, quick, stop, lambda: None)  # type: ignore[arg-type]
    assert (steps.asked, steps.announced) == (3, 1)


def test_one_that_cannot_tell_whether_anything_goes_on_takes_its_steps(settings: Settings) -> None:
    class Unsure(Steps):
        def at_rest(self) -> bool:
            raise self._error

    stop = threading.Event()
    steps = Unsure(stop, DatabaseUnreachableError("away"))
    _turns(steps, settings.model_copy(update={"lease_seconds": 0.0}), stop, lambda: None)  # type: ignore[arg-type]
    assert steps.announced == 1


@pytest.mark.parametrize("error", [DatabaseUnreachableError("away"), DatabaseRefusedError("faulty")])
def test_a_step_that_fails_holds_up_no_other(settings: Settings, error: DatabaseError) -> None:
    stop = threading.Event()
    steps = Steps(stop, error)
    _turns(steps, settings.model_copy(update={"lease_seconds": 0.0}), stop, lambda: None)  # type: ignore[arg-type]
    assert steps.announced
