"""The one reader of new events in a process, whoever waits for them.

It reads when Redis says that something happened, and once a second; and now and then why the jobs that are watched
are where they are: that changes without an event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Protocol
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from app.domain.event import EventPage
from app.domain.job_filter import JobFilter
from app.errors import DatabaseError
from app.services.job_view import Glance
from app.web.inboxes import Inbox, Inboxes

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
REST_SECONDS = 0.02
"""Between two reads: what happens meanwhile is read at once."""
LOOK_SECONDS = 5.0
"""Between two looks at the jobs that are watched."""
MOST_READ = 1000


class Log(Protocol):
    """Where events are read."""

    def position(self) -> int:
        """Where what happens from now on begins."""

    def page(
        self, after: int, limit: int, wanted: JobFilter = ..., *, tasks: Collection[str] = (), known: int = 0
    ) -> EventPage:
        """The next ones; `known` is a position that was reached before."""


Looks = Callable[[Collection[UUID]], Mapping[UUID, Glance]]


class Tail:
    """Reads as long as somebody listens. Lives on one event loop."""

    def __init__(
        self,
        log: Log,
        looks: Looks,
        *,
        poll_seconds: float = POLL_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._log = log
        self._looks = looks
        self._poll_seconds = poll_seconds
        self._look_seconds = look_seconds
        self._inboxes = Inboxes()
        self._woken = asyncio.Event()  # made anew with each run: of the loop that it waits on
        self._position: int | None = None
        self._looked_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.closed = False
        """The server is stopping: readers end."""

    def wake(self, job_id: UUID) -> None:
        """There is something new of this job."""
        if self._inboxes.wants(job_id):
            self._woken.set()

    @contextmanager
    def inbox(self, wanted: JobFilter | UUID) -> Iterator[Inbox]:
        """One that is filled while it is held, once it was begun."""
        inbox = Inbox(wanted)
        self._inboxes.add(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.remove(inbox)

    async def begin(self, inbox: Inbox) -> None:
        """Fill it with all that comes from now on. DatabaseError where nobody reads yet and the database is away."""
        if self._position is None:
            position = await run_in_threadpool(self._log.position)
            self._position = position if self._position is None else self._position
        inbox.begin(self._position)
        if self._task is None and not self.closed:
            self._woken = asyncio.Event()
            self._looked_at = time.monotonic()
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
                await self._read()
        finally:
            self._task = self._position = None

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _read(self) -> None:
        """Read once, and tell."""
        try:
            await self._read_on()
            if self._inboxes.jobs and time.monotonic() - self._looked_at >= self._look_seconds:
                await self._look()
        except DatabaseError as error:
            log.warning("could not read events, trying again: %s", error.details)
            await asyncio.sleep(self._poll_seconds)
        except Exception:  # a row of another version: who listens here waits for others, too
            log.exception("could not read events, trying again")
            await asyncio.sleep(self._poll_seconds)
        else:
            await asyncio.sleep(REST_SECONDS)

    async def _read_on(self) -> None:
        tasks = self._inboxes.tasks
        page = await run_in_threadpool(self._log.page, self._position or 0, MOST_READ, tasks=tasks)
        self._position = page.position
        self._inboxes.put(page, tasks)
        if page.more:
            self._woken.set()

    async def _look(self) -> None:
        self._looked_at = time.monotonic()
        jobs = list(self._inboxes.jobs)
        self._inboxes.see(await run_in_threadpool(self._looks, jobs), jobs)
