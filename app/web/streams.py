"""Answers that stay open: how many there may be, and that they end when their caller may listen no longer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.errors import CrossSiteError, DatabaseError, UnauthenticatedError
from app.web.callers import admission
from app.web.deps import Services

LOOK_SECONDS = 5.0
"""How often an open stream asks whether its key still holds."""
AS_IT_COMES = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Headers with which a proxy keeps nothing back."""


class Admission:
    """The right of one caller to go on listening."""

    def __init__(
        self,
        services: Services,
        headers: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._headers = headers
        self._clock = clock
        self._looked_at = clock()

    async def holds(self) -> bool:
        """Whether the same request would still be let in; looked up every LOOK_SECONDS.

        While the database is away nobody is sent off: there is nothing to hear either.
        """
        if self._clock() - self._looked_at < LOOK_SECONDS:
            return True
        self._looked_at = self._clock()
        try:
            await admission(self._services, self._headers)
        except (UnauthenticatedError, CrossSiteError):
            return False
        except DatabaseError:
            pass
        return True


class Stream(StreamingResponse):
    """A streamed answer; it has one of its caller's places while it is sent."""

    def __init__(
        self,
        content: AsyncIterator[bytes] | AsyncIterator[str],
        *,
        services: Services,
        request: Request,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._place = services.streams.place(request.state.key_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, unless there are too many."""
        with self._place:
            await super().__call__(scope, receive, send)
