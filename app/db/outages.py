"""What may go wrong with the database, as errors of our own; and what to do while it is away: ask again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.errors import AlreadyStoredError, DatabaseError, DatabaseRefusedError, DatabaseUnreachableError

AGAIN_SECONDS = 0.5
UNIQUE_VIOLATION = "23505"

T = TypeVar("T")

log = logging.getLogger(__name__)


@contextmanager
def own_errors() -> Iterator[None]:
    """The edge of the database: SQLAlchemy's errors become DatabaseErrors, each with its cause."""
    try:
        yield
    except SQLAlchemyError as error:
        raise own_error(error) from error


def own_error(error: SQLAlchemyError) -> DatabaseError:
    """Whether the database was away or gave up, so that the same may be asked again; or refused a statement.

    What the driver says of a refusal may repeat rows: users hear of its kind only.
    """
    details = cause(error)
    if _is_outage(error):
        return DatabaseUnreachableError(f"the database does not answer: {details}")
    kind = AlreadyStoredError if _is_duplicate(error) else DatabaseRefusedError
    return kind(f"the database refused what was to be stored ({type(error).__name__})", details)


def cause(error: SQLAlchemyError) -> str:
    """What the driver says, in one line and without the statement."""
    said = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return " ".join(str(said).split()) or type(said).__name__


def _is_outage(error: SQLAlchemyError) -> bool:
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_duplicate(error: SQLAlchemyError) -> bool:
    return isinstance(error, IntegrityError) and getattr(error.orig, "sqlstate", None) == UNIQUE_VIOLATION


def patiently(call: Callable[[], T], over: Callable[[], bool]) -> T:
    """What `call` returns, asked again after an outage until it is over: then the outage's error.

    The answer to a commit may be what was lost, so `call` must be safe to repeat.
    """
    while True:
        try:
            return call()
        except DatabaseUnreachableError as error:
            if over():
                raise
            log.warning("trying again: %s", error)
            time.sleep(AGAIN_SECONDS)
