"""The scheduler process: one leads under an advisory lock, the others stand by."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.broker import CeleryDoorbell
from app.db.session import check_schema, make_engine, make_sessions
from app.db.vitals import LEADER_LOCK
from app.services.scheduling import SchedulingService
from app.settings import Settings, current

FROZEN_SECONDS = 10.0
"""A leader that asks nothing for so long (or half a lease) has lost its lock: a standby leads."""
STANDBY_SECONDS = 2.0
TIDY_TURNS = 120

log = logging.getLogger(__name__)


def lead(connection: Connection, frozen_seconds: float = FROZEN_SECONDS) -> bool:
    """Try to become the leader; the lock lives as long as the connection, which a leader that freezes loses."""
    leading = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK}))
    if leading:
        connection.execute(text(f"SET idle_session_timeout = {int(frozen_seconds * 1000)}"))
    connection.commit()
    return leading


def run(settings: Settings | None = None, stop: threading.Event | None = None) -> None:
    """Lead or stand by until told to stop."""
    settings = settings or current()
    stop = stop or _stop_on_signals()
    check_schema(settings)
    service = SchedulingService(
        sessions=make_sessions(settings), doorbell=CeleryDoorbell(settings), settings=settings
    )
    engine = make_engine(settings)
    while not stop.is_set():
        try:
            _lead_or_wait(engine, service, settings, stop)
        except DBAPIError as error:
            log.warning("the database failed, trying again: %s", str(error.orig).strip())
            stop.wait(STANDBY_SECONDS)


def _lead_or_wait(
    engine: Engine, service: SchedulingService, settings: Settings, stop: threading.Event
) -> None:
    with engine.connect() as connection:
        try:
            if not lead(connection, min(FROZEN_SECONDS, settings.lease_seconds / 2)):
                stop.wait(STANDBY_SECONDS)
                return
            log.info("leading")
            _turns(service, settings, stop, lambda: _still_leading(connection))
        finally:
            connection.invalidate()  # back in the pool it would go on holding the lock


def _still_leading(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
    connection.commit()


def _turns(
    service: SchedulingService, settings: Settings, stop: threading.Event, still_leading: Callable[[], None]
) -> None:
    """Place and announce each turn; expire only after one time to live, since leases may have lapsed unseen."""
    turn, began_at = 0, time.monotonic()
    while not stop.is_set():
        still_leading()
        _attempt(service.place_once)
        _attempt(service.announce_once)
        if time.monotonic() - began_at >= settings.lease_seconds:
            _attempt(service.expire_once)
        if turn % TIDY_TURNS == 0:
            _attempt(service.tidy_once)
        _attempt(service.sweep_once)
        turn += 1
        stop.wait(settings.schedule_seconds)


def _attempt(step: Callable[[], object]) -> None:
    """One step of a turn; one that the database refuses is left to the next turn and holds up no other."""
    try:
        step()
    except DBAPIError as error:
        log.warning("%s failed, trying again: %s", step.__name__, str(error.orig).strip())


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
