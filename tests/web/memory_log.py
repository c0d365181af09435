"""Events in memory in place of the database's, and readers of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.domain.event import Event, EventPage, SerialEvent
from app.domain.ids import uuid7
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter, Subject
from app.errors import DatabaseUnreachableError, UnknownJobError
from app.services.job_view import Glance, News
from app.web.following import Followers
from app.web.sharing import Shared
from app.web.tail import Tail

NOW = datetime.now(UTC)
EVERY = JobFilter()
JOBS = (uuid7(), uuid7())
OWNERS = ("alice", "bob")


class MemoryLog:
    """Events 1 to `count`, of two jobs by turns; what is beyond `shown` no tail is told. Counts its reads."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.shown = 10**9
        self.ended = False
        self.deleted = False
        self.reads = 0
        self.failures = 0
        self.failure: Exception = DatabaseUnreachableError("restarting")
        self.meanwhile: Callable[[], None] | None = None
        """What happens while somebody reads beside the tail."""
        self.tasks: set[str] = set()
        self.looked: list[set[UUID]] = []
        self.look: Glance | None = Glance("waiting", None, over=False)

    def position(self) -> int:
        return self.count

    def page(
        self,
        after: int,
        limit: int,
        wanted: JobFilter = EVERY,
        *,
        tasks: Collection[str] = (),
        known: int = 0,
    ) -> EventPage:
        self._count_read()
        self.tasks |= set(tasks)
        if known and self.meanwhile:
            self.meanwhile()
        if after > self.count:
            return EventPage([], self.count, more=False)
        upto = min(after + limit, self.count)
        told = (self.told(serial) for serial in range(after + 1, upto + 1) if serial <= self.shown)
        return EventPage([event for event in told if wanted.matches(event.job)], upto, more=upto < self.count)

    def news(self, job_id: UUID, after: int, limit: int) -> News:
        self._count_read()
        if self.meanwhile:
            self.meanwhile()
        if self.deleted:
            raise UnknownJobError("gone")
        told = [self.told(serial) for serial in range(1, self.count + 1)]
        events = [event.event for event in told if event.job.id == job_id and event.event.id > after][:limit]
        return News(events, self.ended and len(events) < limit)

    def looks(self, job_ids: Collection[UUID]) -> Mapping[UUID, Glance]:
        self.looked.append(set(job_ids))
        return dict.fromkeys(job_ids, self.look) if self.look else {}

    def told(self, serial: int) -> SerialEvent:
        side, number = serial % 2, (serial + 1) // 2
        status = JobStatus.SUCCEEDED if self.ended else JobStatus.RUNNING
        last = (self.count + side) // 2
        job = Subject(JOBS[side], status, OWNERS[side], "default", "tiny", frozenset(), None, NOW, last)
        return SerialEvent(serial, job, Event(number, NOW, "job.progress", {}))

    def _count_read(self) -> None:
        self.reads += 1
        if self.failures:
            self.failures -= 1
            raise self.failure


@dataclass
class Room:
    """Where readers of a log meet."""

    log: MemoryLog
    tail: Tail
    followers: Followers

    async def all(self, after: int, upto: int, wanted: JobFilter = EVERY) -> list[int]:
        """The serials that a reader of all jobs is told, until its position is there."""
        found: list[int] = []
        stream = self.followers.follow_all(wanted, after, 5.0)
        async for page in stream:
            found += [event.serial for event in page.events]
            if page.position >= upto:
                break
        await stream.aclose()
        return found

    async def job(self, job_id: UUID, after: int = 0) -> list[int]:
        """The numbers that a reader of one job is told, until it ends."""
        stream = self.followers.follow(job_id, after, 5.0)
        return [event.id async for news in stream for event in news.events]

    async def until_listening(self, readers: int) -> None:
        """So many wait for what is new."""
        async with asyncio.timeout(20):
            while len([inbox for inbox in self.tail._inboxes if inbox.waiting]) < readers:
                await asyncio.sleep(0)


@asynccontextmanager
async def listening(
    log: MemoryLog, poll_seconds: float = 0.01, look_seconds: float = 60.0
) -> AsyncIterator[Room]:
    tail = Tail(log, log.looks, poll_seconds=poll_seconds, look_seconds=look_seconds)
    try:
        yield Room(log, tail, Followers(tail=tail, log=log, read=log.news, shared=Shared()))
    finally:
        await tail.wait_closed()
