"""Cursors: opaque to clients, a place in a list for the server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

from app.domain.storable import unstorable
from app.errors import FaultyField, InvalidRequestError

T = TypeVar("T")


def encoded(*parts: str | int) -> str:
    """A cursor that stands for these values."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decoded(cursor: str | None, parse: Callable[..., T]) -> T | None:
    """What the cursor stands for, built by `parse`; InvalidRequestError for one that was not made here."""
    if not cursor:
        return None
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(parts, list) or any(unstorable(parts, "")):
            raise ValueError("not what a cursor holds")
        return parse(*parts)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        message = "is not a cursor of this list; take `next_cursor` from the page before"
        raise InvalidRequestError([FaultyField("query.cursor", message)]) from error
