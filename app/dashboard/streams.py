"""The one stream of a page: its regions again as they change, at most once a second."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from uuid import UUID

from fastapi import Request
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from app.errors import DatabaseError, UnknownJobError
from app.web.deps import Services
from app.web.streams import AS_IT_COMES, Admission, Stream

log = logging.getLogger(__name__)

LEAST_SECONDS = 1.0
"""Between two looks, whatever happens meanwhile."""
IDLE_SECONDS = 2.0
"""Between two looks while nothing is told: logs grow and reasons change without an event."""
ENDED = "ended"
"""The event after which a page does not connect again."""

Regions = Callable[[], Mapping[str, str]]


class SentRegions:
    """What a page has been sent."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._sent: dict[str, str] = {}

    def changed(self, number: int) -> bytes:
        """The regions that look otherwise than they did, as one message; a sign of life where none does."""
        try:
            now = dict(self._regions())
        except DatabaseError as error:
            log.warning("could not look at a page, trying again: %s", error.details)
            return KEEPALIVE_COMMENT
        new = {name: text for name, text in now.items() if self._sent.get(name) != text}
        self._sent = now
        if not new:
            return KEEPALIVE_COMMENT
        return format_sse_event(data_str="".join(partial_of(*each) for each in new.items()), id=str(number))


def partial_of(name: str, text: str) -> str:
    """A region of a page, to stand in place of the one that is there."""
    return f'<hx-partial hx-target="#{name}" hx-swap="outerMorph">{text}</hx-partial>'


def partials(services: Services, request: Request, job_id: UUID, regions: Regions) -> Stream:
    """A job's page, followed: all of it at first, whatever was seen before, and then what changes."""
    return Stream(
        _follow(services, job_id, SentRegions(regions), Admission(services, request.headers)),
        services=services,
        request=request,
        media_type="text/event-stream",
        headers=AS_IT_COMES,
    )


async def _follow(
    services: Services, job_id: UUID, told: SentRegions, admission: Admission
) -> AsyncIterator[bytes]:
    after, looked_at, ended = 0, float("-inf"), False
    try:
        after = await run_in_threadpool(services.jobs.latest, job_id)
        yield await run_in_threadpool(told.changed, after)
        async with aclosing(services.followers.follow(job_id, after, IDLE_SECONDS)) as news:
            async for each in news:
                after, ended = each.events[-1].id if each.events else after, each.ended
                if not await admission.holds():
                    return
                if ended or time.monotonic() - looked_at >= LEAST_SECONDS:
                    looked_at = time.monotonic()
                    yield await run_in_threadpool(told.changed, after)
    except UnknownJobError:
        ended = True  # it was deleted meanwhile
    if ended:
        yield format_sse_event(data_str="-", event=ENDED)
