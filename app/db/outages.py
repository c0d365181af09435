"""What to do while the database is away: ask again, as long as there is a right to; and what users hear of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

AGAIN_SECONDS = 0.5

T = TypeVar("T")

log = logging.getLogger(__name__)


def is_outage(error: BaseException) -> bool:
    """Whether the database was away or gave up: what was asked may be asked again."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def told(error: BaseException) -> str:
    """An error in words for users: of the database's, which repeat statements and rows, only the kind."""
    kind = type(error).__name__
    if isinstance(error, SQLAlchemyError):
        return f"the database refused what was to be stored ({kind}); the coordinator's log has the details"
    return f"{kind}: {error}"


def patiently(call: Callable[[], T], over: Callable[[], bool]) -> T:
    """What `call` returns, asked again after an outage until it is over: then the outage's error.

    The answer to a commit may be what was lost, so `call` must be safe to repeat.
    """
    while True:
        try:
            return call()
        except SQLAlchemyError as error:
            if over() or not is_outage(error):
                raise
            log.warning("the database failed, trying again: %s", str(error).splitlines()[0])
            time.sleep(AGAIN_SECONDS)
