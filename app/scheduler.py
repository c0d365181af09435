"""The scheduler process: one leads under an advisory lock, the others stand by."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from app.broker import CeleryDoorbell
from app.db.leader import Leadership
from app.db.session import check_schema, make_sessions
from app.errors import DatabaseError
from app.services.scheduling import SchedulingService
from app.settings import Settings, current

FROZEN_SECONDS = 10.0
"""A leader that asks nothing for so long (or half a lease) has lost its lock: a standby leads."""
STUCK_SECONDS = 5.0
"""One that freezes in a transaction holds what it has locked no longer: workers wait for the same rows."""
STANDBY_SECONDS = 2.0
TIDY_TURNS = 120
BOOK_TURNS = 10

log = logging.getLogger(__name__)

T = TypeVar("T")


def run(settings: Settings | None = None, stop: threading.Event | None = None) -> None:
    """Lead or stand by until told to stop."""
    settings = settings or current()
    stop = stop or _stop_on_signals()
    check_schema(settings)
    service = SchedulingService(
        sessions=make_sessions(settings, STUCK_SECONDS), doorbell=CeleryDoorbell(settings), settings=settings
    )
    leadership = Leadership(settings)
    while not stop.is_set():
        try:
            _lead_or_wait(leadership, service, settings, stop)
        except DatabaseError as error:
            log.warning("the database failed, trying again: %s", error.details)
            stop.wait(STANDBY_SECONDS)


def _lead_or_wait(
    leadership: Leadership, service: SchedulingService, settings: Settings, stop: threading.Event
) -> None:
    with leadership.sought(min(FROZEN_SECONDS, settings.lease_seconds / 2)) as lead:
        if lead is None:
            stop.wait(STANDBY_SECONDS)
            return
        log.info("leading")
        _turns(service, settings, stop, lead.check)


def _turns(
    service: SchedulingService, settings: Settings, stop: threading.Event, still_leading: Callable[[], None]
) -> None:
    """Line up, place and announce each turn in which anything goes on, book and settle now and then.

    Expire only after a time to live: leases may have lapsed unseen.
    """
    turn, began_at = 0, time.monotonic()
    while not stop.is_set():
        still_leading()
        if turn % BOOK_TURNS == 0:
            _attempt(service.book_once)
            _attempt(service.settle_once)
        if not _attempt(service.at_rest):
            _attempt(service.line_up_once)
            _attempt(service.place_once)
            _attempt(service.announce_once)
            if time.monotonic() - began_at >= settings.lease_seconds:
                _attempt(service.expire_once)
        if turn % TIDY_TURNS == 0:
            _attempt(service.tidy_once)
        _attempt(service.sweep_once)
        turn += 1
        stop.wait(settings.schedule_seconds)


def _attempt(step: Callable[[], T]) -> T | None:
    """One step of a turn; one that fails is left to the next turn and holds up no other."""
    try:
        return step()
    except DatabaseError as error:
        log.warning("%s failed, trying again: %s", step.__name__, error.details)
    except Exception:
        log.exception("%s failed, trying again", step.__name__)
    return None


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
