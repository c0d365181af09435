"""Events of all jobs as they are committed, to one reader: first from the database, then from its inbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from app.domain.event import EventPage
from app.domain.job_filter import JobFilter
from app.errors import DatabaseError
from app.web.tail import Log, Tail

PAGE = 500
AGAIN_SECONDS = 1.0


async def follow_all(
    tail: Tail, log: Log, wanted: JobFilter, after: int, idle_seconds: float
) -> AsyncGenerator[EventPage, None]:
    """Every event of these jobs behind a position, each once, until the server stops.

    A page without any says how far it is: at the beginning, and after `idle_seconds` in which nothing came. A reader
    that takes too long goes on from the database.
    """
    with tail.inbox(wanted) as inbox:
        await tail.begin(inbox)
        page, caught_up = EventPage([], after, more=True), False
        yield page
        while not tail.closed:
            if inbox.behind:
                await tail.begin(inbox)
                caught_up = False
            if not caught_up:
                page = await _read(tail, log, wanted, page.position, inbox.since)
                caught_up = not page.more and page.position >= inbox.since
            elif (taken := await inbox.take(idle_seconds)) or not inbox.behind:
                fresh = [event for event in taken if event.serial > page.position]
                page = EventPage(fresh, max(page.position, inbox.position), more=False)
            else:
                continue
            if page.events or caught_up:
                yield page


async def _read(tail: Tail, log: Log, wanted: JobFilter, after: int, known: int) -> EventPage:
    """The next page; while the database is away none comes, as with those who wait."""
    while not tail.closed:
        with suppress(DatabaseError):
            return await run_in_threadpool(log.page, after, PAGE, wanted, known=known)
        await asyncio.sleep(AGAIN_SECONDS)
    return EventPage([], after, more=True)
