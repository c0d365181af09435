"""Events as they are committed, to one reader: first from the database, then from its inbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import TypeVar
from uuid import UUID

from app.domain.event import EventPage
from app.domain.job_filter import JobFilter
from app.errors import DatabaseError, UnknownJobError
from app.services.job_view import News
from app.web.inboxes import Inbox
from app.web.sharing import Shared
from app.web.tail import Log, Tail

T = TypeVar("T")

PAGE = 500
AGAIN_SECONDS = 1.0

Read = Callable[[UUID, int, int], News]


class Followers:
    """Lets any number of streams follow jobs; a reader that takes too long goes on from the database."""

    def __init__(self, *, tail: Tail, log: Log, read: Read, shared: Shared) -> None:
        self._tail = tail
        self._log = log
        self._news = read
        self._shared = shared

    async def follow_all(
        self, wanted: JobFilter, after: int, idle_seconds: float
    ) -> AsyncGenerator[EventPage, None]:
        """Every event of these jobs behind a position, each once, until the server stops.

        A page without any says how far it is: at the beginning, and after `idle_seconds` in which nothing came.
        """
        with self._tail.inbox(wanted) as inbox:
            await self._tail.begin(inbox)
            page, stored = EventPage([], after, more=True), True
            yield page
            while not self._tail.closed:
                stored = await self._begun_anew(inbox) or stored
                if stored:
                    page = await self._page(wanted, page.position, inbox.since)
                    stored = page.more or page.position < inbox.since
                else:
                    taken = await inbox.take(idle_seconds)
                    if inbox.behind:
                        continue
                    fresh = [event for event in taken if event.serial > page.position]
                    page = EventPage(fresh, max(page.position, inbox.position), more=False)
                if page.events or not stored:
                    yield page

    async def follow(self, job_id: UUID, after: int, idle_seconds: float) -> AsyncGenerator[News, None]:
        """The job's events after a number, each once, until it ends or is gone, or the server stops.

        News without any say that nothing happened for `idle_seconds`, or that its reason may be another.
        """
        with self._tail.inbox(job_id) as inbox:
            await self._tail.begin(inbox)
            stored = True
            while not (inbox.gone or self._tail.closed):
                stored = await self._begun_anew(inbox) or stored
                if stored:
                    news = await self._stored(job_id, after)
                    stored = len(news.events) == PAGE
                else:
                    news = await _taken(inbox, after, idle_seconds)
                    if stored := inbox.behind or _is_missing(inbox, news, after):
                        continue
                after = news.events[-1].id if news.events else after
                if news.events or news.ended or not stored:
                    yield news
                if news.ended:
                    break

    async def _begun_anew(self, inbox: Inbox) -> bool:
        """Whether it was behind: what it does not hold is in the database."""
        if not inbox.behind:
            return False
        await self._tail.begin(inbox)
        return True

    async def _page(self, wanted: JobFilter, after: int, known: int) -> EventPage:
        read = partial(self._log.page, after, PAGE, wanted, known=known)
        page = await self._patiently(("page", wanted, after, known), read)
        return page or EventPage([], after, more=True)

    async def _stored(self, job_id: UUID, after: int) -> News:
        """A job that is gone has ended."""
        try:
            news = await self._patiently(("news", job_id, after), partial(self._news, job_id, after, PAGE))
        except UnknownJobError:
            return News([], ended=True)
        return news or News([], ended=False)

    async def _patiently(self, key: Hashable, read: Callable[[], T]) -> T | None:
        """What is read; while the database is away nothing comes, as to those who wait. None: the server stops."""
        while not self._tail.closed:
            with suppress(DatabaseError):
                return await self._shared.read(key, read)
            await asyncio.sleep(AGAIN_SECONDS)
        return None


async def _taken(inbox: Inbox, after: int, idle_seconds: float) -> News:
    """What is in a job's inbox after a number, or where the job is."""
    fresh = [event for event in await inbox.take(idle_seconds) if event.event.id > after]
    if not fresh:
        return News([], ended=False, look=inbox.look)
    return News([event.event for event in fresh], ended=fresh[-1].ends)


def _is_missing(inbox: Inbox, news: News, after: int) -> bool:
    """Whether there is something that the inbox was not told: an end, or what stands between two numbers."""
    if news.events:
        return news.events[0].id != after + 1
    return inbox.look is not None and inbox.look.over
