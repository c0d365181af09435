"""Streams of pages that many people look at: what one is told is computed once for all who see the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from secrets import token_hex
from uuid import UUID

from fastapi import Request
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from app.domain.job_filter import JobFilter
from app.errors import DatabaseError, UnknownJobError
from app.web.deps import Services
from app.web.preference import accepts
from app.web.problems import NotAcceptableError
from app.web.streams import LOOK_SECONDS, Admission, Stream
from app.web.tail import Tail

STREAM = "text/event-stream"
LEAST_SECONDS = 1.0
"""Between two looks, whatever happens meanwhile."""
IDLE_SECONDS = 2.0
"""Between two looks while nothing is told: logs grow and reasons change without an event."""
ENDED = format_sse_event(data_str="-", event="ended")
"""What a page hears last: it does not connect again."""

log = logging.getLogger(__name__)

Regions = Callable[[], Mapping[str, str]]


class LastRegions(dict[str, str]):
    """Of a page that changes no more."""


@dataclass(frozen=True)
class View:
    """A page as a kind of reader sees it; whoever has an equal one shares what is computed."""

    page: str
    sees: str | None
    may_change: bool
    at: Hashable = None
    job: UUID | None = None
    """The one that the page is of: what happens to others is no reason to look."""


@dataclass
class _Feed:
    regions: Regions
    number: int = 0
    mark: str = field(default_factory=lambda: token_hex(4))
    """Tells its numbers from those of a feed before, or of another process."""
    shown: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Regions, each with the number under which it came to look so."""
    readers: set[asyncio.Event] = field(default_factory=set)
    task: asyncio.Task[None] | None = None
    over: bool = False
    """The page changes no more."""
    ended: bool = False
    """Nothing is computed any more: who reads it comes again, and is given another."""

    def show(self, regions: Mapping[str, str]) -> None:
        """Tell the readers if something looks otherwise."""
        new = {name: text for name, text in regions.items() if self.shown.get(name, (0, ""))[1] != text}
        self.over = isinstance(regions, LastRegions)
        if new:
            self.number += 1
            self.shown |= {name: (self.number, text) for name, text in new.items()}
            for reader in self.readers:
                reader.set()

    def place(self, seen: str) -> int:
        """The number behind which a reader is who saw this id; 0 where it was not of this feed."""
        mark, _, number = seen.rpartition("-")
        known = mark == self.mark and number.isdecimal() and len(number) < 20
        return int(number) if known and int(number) <= self.number else 0

    def since(self, number: int) -> bytes:
        """What came to look otherwise, as one message; a sign of life where nothing did."""
        new = [(name, text) for name, (at, text) in self.shown.items() if at > number]
        if not new:
            return KEEPALIVE_COMMENT
        told = "".join(partial_of(*each) for each in new)
        return format_sse_event(data_str=told, id=f"{self.mark}-{self.number}")


class Feeds:
    """Computes as long as somebody reads. Lives on one event loop."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._feeds: dict[View, _Feed] = {}

    async def follow(self, view: View, regions: Regions, seen: str) -> AsyncGenerator[bytes, None]:
        """Messages behind an id, or all of the page where another feed gave it.

        Until the page is over, which the last one says, or the server stops.
        """
        feed = self._join(view, regions)
        woken = asyncio.Event()
        feed.readers.add(woken)
        after = feed.place(seen)
        try:
            while not self._tail.closed and (feed.over or not feed.ended):
                over = feed.over
                told, after = feed.since(after), feed.number if feed.shown else after
                yield told
                if over:
                    yield ENDED
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await woken.wait()
                woken.clear()
        finally:
            feed.readers.discard(woken)

    async def wait_closed(self) -> None:
        """Return when nothing is computed any more; the tail is closed."""
        await asyncio.gather(
            *(feed.task for feed in self._feeds.values() if feed.task), return_exceptions=True
        )

    def _join(self, view: View, regions: Regions) -> _Feed:
        feed = self._feeds.get(view)
        if feed is None:
            feed = self._feeds[view] = _Feed(regions)
            feed.task = asyncio.create_task(self._run(view, feed))
        return feed

    async def _run(self, view: View, feed: _Feed) -> None:
        try:
            with self._tail.inbox(view.job or JobFilter(team=view.sees)) as inbox:
                while not self._tail.closed:
                    with suppress(DatabaseError):
                        await self._tail.begin(inbox)
                    await self._look(view, feed)
                    if feed.over:
                        break
                    await asyncio.sleep(LEAST_SECONDS)
                    if not feed.readers:
                        break
                    await inbox.take(IDLE_SECONDS)
        except Exception:
            log.exception("could not show the page %s", view.page)
        finally:
            feed.ended = True
            self._feeds.pop(view, None)
            for reader in feed.readers:
                reader.set()

    @staticmethod
    async def _look(view: View, feed: _Feed) -> None:
        try:
            feed.show(await run_in_threadpool(feed.regions))
        except UnknownJobError:
            feed.show(LastRegions())  # it was deleted meanwhile
        except DatabaseError as error:
            log.warning("could not look at the page %s, trying again: %s", view.page, error.details)


def partial_of(name: str, text: str) -> str:
    """A region of a page, to stand in place of the one that is there."""
    return f'<hx-partial hx-target="#{name}" hx-swap="outerMorph">{text}</hx-partial>'


def shared(request: Request, services: Services, view: View, regions: Regions) -> Stream:
    """A page's stream, from where its reader was; NotAcceptableError for who reads none: it does not end."""
    if not accepts(request.headers.get("accept", ""), (STREAM,)):
        raise NotAcceptableError(f"this is a stream: it answers with {STREAM}, and Accept wants none of it")
    seen = request.headers.get("last-event-id", "")
    feeds: Feeds = request.app.state.feeds
    return Stream(
        _admitted(feeds.follow(view, regions, seen), Admission(services, request.headers)),
        services=services,
        request=request,
        media_type=STREAM,
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _admitted(stream: AsyncGenerator[bytes, None], admission: Admission) -> AsyncIterator[bytes]:
    async with aclosing(stream) as messages:
        async for message in messages:
            if not await admission.holds():
                return
            yield message
