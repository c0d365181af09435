"""The one reader of new events in a process, whoever waits for them, and the inboxes that it fills.

What it has read goes to every inbox that wants it. One that is not emptied in time forgets what it has: its reader
goes on from the database, where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from app.domain.event import EventPage, SerialEvent
from app.domain.job_filter import JobFilter
from app.errors import DatabaseError

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
REST_SECONDS = 0.02
"""Between two reads: what happens meanwhile is read at once."""
MOST_READ = 1000
MOST_WAITING = 1000
"""Events in one inbox; they are shared with the others."""


class Log(Protocol):
    """Where events are read."""

    def position(self) -> int:
        """Where what happens from now on begins."""

    def page(
        self, after: int, limit: int, wanted: JobFilter = ..., *, tasks: Collection[str] = (), known: int = 0
    ) -> EventPage:
        """The next ones; `known` is a position that was reached before."""


class Inbox:
    """What one reader has not taken yet. Of a database that was restored it holds nothing: positions went back."""

    def __init__(self, wanted: JobFilter) -> None:
        self.wanted = wanted
        self.since = 0
        """From here on everything is put in."""
        self.position = 0
        """Up to here all that it wants is in it, or was."""
        self.behind = False
        """More came than it holds: it is empty until it is begun anew."""
        self._events: deque[SerialEvent] = deque()
        self._woken = asyncio.Event()

    def begin(self, position: int) -> None:
        """Hold what comes after this."""
        self.since = self.position = position
        self.behind = False
        self._events.clear()

    def put(self, events: Iterable[SerialEvent], position: int) -> None:
        """What was read up to a position."""
        fresh = [event for event in events if event.serial > self.since and self.wanted.matches(event.job)]
        self._events.extend(fresh)
        if len(self._events) > MOST_WAITING or position < self.position:
            self.behind = True
        if self.behind:
            self._events.clear()
        else:
            self.position = position
        if fresh:
            self.wake()

    def wake(self) -> None:
        """Let its reader look."""
        self._woken.set()

    async def take(self, patience_seconds: float) -> list[SerialEvent]:
        """What is in it, when something is or its reader is to look; nothing after that patience."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._woken.wait()
        self._woken.clear()
        taken = list(self._events)
        self._events.clear()
        return taken


class Tail:
    """Reads as long as somebody listens. Lives on one event loop."""

    def __init__(self, log: Log, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._log = log
        self._poll_seconds = poll_seconds
        self._inboxes: set[Inbox] = set()
        self._woken = asyncio.Event()  # made anew with each run: of the loop that it waits on
        self._position: int | None = None
        self._task: asyncio.Task[None] | None = None
        self.closed = False
        """The server is stopping: readers end."""

    def wake(self, _: UUID) -> None:
        """There is something new of this job."""
        self._woken.set()

    @contextmanager
    def inbox(self, wanted: JobFilter) -> Iterator[Inbox]:
        """One that is filled while it is held, once it was begun."""
        inbox = Inbox(wanted)
        self._inboxes.add(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.discard(inbox)

    async def begin(self, inbox: Inbox) -> None:
        """Fill it with all that comes from now on. DatabaseError where nobody reads yet and the database is away."""
        if self._position is None:
            position = await run_in_threadpool(self._log.position)
            self._position = position if self._position is None else self._position
        inbox.begin(self._position)
        if self._task is None:
            self._woken = asyncio.Event()
            self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """End all readers, now and from now on."""
        self.closed = True
        self._woken.set()
        for inbox in self._inboxes:
            inbox.wake()

    async def wait_closed(self) -> None:
        """Close, and return when nothing reads the database any more."""
        self.close()
        if self._task is not None:  # not cancelled: its read would go on in a thread
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._inboxes and not self.closed:
                await self._wait()
                await self._look()
        finally:
            self._task = self._position = None

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _look(self) -> None:
        """Read once, and tell."""
        tasks = {inbox.wanted.task for inbox in self._inboxes if inbox.wanted.task}
        after = self._position or 0
        try:
            page = await run_in_threadpool(self._log.page, after, MOST_READ, tasks=tasks)
        except DatabaseError as error:
            log.warning("could not read events, trying again: %s", error.details)
            await asyncio.sleep(self._poll_seconds)
            return
        self._position = page.position
        for inbox in self._inboxes:
            inbox.put(page.events, page.position)
        if page.more:
            self._woken.set()
        await asyncio.sleep(REST_SECONDS)
