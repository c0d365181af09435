"""The scheduler process: one leads under an advisory lock, the others stand by."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.broker import CeleryDoorbell
from app.db.session import check_schema, make_engine, make_sessions
from app.services.scheduling import SchedulingService
from app.settings import Settings, current

LEADER_LOCK = 0x6576616C72
STANDBY_SECONDS = 2.0
TIDY_TURNS = 120

log = logging.getLogger(__name__)


def lead(connection: Connection) -> bool:
    """Try to become the leader; the lock lives as long as the connection."""
    leading = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LEADER_LOCK}))
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


def _lead_or_wait(engine: Engine, service: SchedulingService, settings: Settings, stop: threading.Event) -> None:
    with engine.connect() as connection:
        if not lead(connection):
            stop.wait(STANDBY_SECONDS)
            return
        log.info("leading")

        def still_leading() -> None:
            connection.execute(text("SELECT 1"))
            connection.commit()

        _turns(service, settings, stop, still_leading)


def _turns(
    service: SchedulingService, settings: Settings, stop: threading.Event, still_leading: Callable[[], None]
) -> None:
    """Place and announce each turn; expire only after one time to live, since leases may have lapsed unseen."""
    turn = 0
    grace = settings.lease_seconds
    while not stop.is_set():
        still_leading()
        service.place_once()
        service.announce_once()
        if turn * settings.schedule_seconds >= grace:
            service.expire_once()
        if turn % TIDY_TURNS == 0:
            service.tidy_once()
        turn += 1
        stop.wait(settings.schedule_seconds)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
