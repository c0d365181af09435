"""Where streams wait: one Redis subscription per process, one read per wake-up and watched job.

Redis only wakes; the events come from Postgres. Without Redis every watched job is looked at once a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from app.broker import EVENTS_CHANNEL
from app.errors import DatabaseError, UnknownJobError
from app.services.job_view import News
from app.web.tail import Tail

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RECONNECT_SECONDS = 1.0

Read = Callable[[UUID, int], News]


@dataclass
class _Watch:
    """A job that somebody watches; `position` is the number its next read starts after."""

    position: int
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    readers: set[asyncio.Queue[News | None]] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class WakeUps:
    """Lets any number of streams follow jobs. Lives on one event loop."""

    def __init__(self, *, read: Read, tail: Tail, redis_url: str, poll_seconds: float = POLL_SECONDS) -> None:
        self._read = read
        self.tail = tail
        self._redis_url = redis_url
        self._poll_seconds = poll_seconds
        self._watches: dict[UUID, _Watch] = {}
        self._closed = False

    async def listen(self) -> None:
        """Hear wake-ups until closed, across any outage of Redis."""
        while not self._closed:
            try:
                await self._listen_once()
            except (RedisError, OSError) as error:
                log.warning("no wake-ups from Redis, polling instead: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        async with Redis.from_url(self._redis_url) as redis, redis.pubsub() as channel:
            await channel.subscribe(EVENTS_CHANNEL)
            async for message in channel.listen():
                if message["type"] == "message":
                    self._wake(message["data"].decode())

    def _wake(self, job_id: str) -> None:
        with suppress(ValueError):
            self.tail.wake(UUID(job_id))
            if watch := self._watches.get(UUID(job_id)):
                watch.woken.set()

    @property
    def closed(self) -> bool:
        """The server is stopping: streams end."""
        return self._closed

    def close(self) -> None:
        """End every stream, now and from now on: a server that stops waits for them."""
        self._closed = True
        self.tail.close()
        for watch in self._watches.values():
            self._end(watch)

    async def wait_closed(self, listening: asyncio.Task[None]) -> None:
        """Close, and return when nothing listens to Redis or reads the database any more."""
        self.close()
        while not listening.done():
            listening.cancel()  # again: a connection that breaks while it is closed swallows the first
            await asyncio.wait({listening}, timeout=RECONNECT_SECONDS)
        # Not cancelled: their reads would go on in threads, with connections of the pool.
        tasks = [watch.task for watch in self._watches.values() if watch.task]
        await asyncio.gather(*tasks, self.tail.wait_closed(), return_exceptions=True)

    async def follow(self, job_id: UUID, after: int, idle_seconds: float) -> AsyncGenerator[News, None]:
        """The job's events after a number as they are committed, until it ends.

        After `idle_seconds` without any an empty News says that nothing happened. UnknownJobError.
        """
        news = await run_in_threadpool(self._read, job_id, after)
        while True:
            after = news.events[-1].id if news.events else after
            yield news
            if news.ended or not news.events or self._closed:
                break
            news = await run_in_threadpool(self._read, job_id, after)
        if not news.ended and not self._closed:
            async for later in self._follow_on(job_id, after, idle_seconds):
                yield later

    async def _follow_on(self, job_id: UUID, after: int, idle_seconds: float) -> AsyncGenerator[News, None]:
        watch, queue = self._join(job_id, after)
        try:
            while news := await self._next(queue, idle_seconds):
                fresh = [event for event in news.events if event.id > after]
                after = fresh[-1].id if fresh else after
                yield replace(news, events=fresh)
                if news.ended:
                    break
        finally:
            watch.readers.discard(queue)

    @staticmethod
    async def _next(queue: asyncio.Queue[News | None], idle_seconds: float) -> News | None:
        try:
            async with asyncio.timeout(idle_seconds):
                return await queue.get()
        except TimeoutError:
            return News([], ended=False)

    def _join(self, job_id: UUID, after: int) -> tuple[_Watch, asyncio.Queue[News | None]]:
        """Read on from the reader that is furthest behind; the others drop what they have."""
        queue: asyncio.Queue[News | None] = asyncio.Queue()
        watch = self._watches.setdefault(job_id, _Watch(after))
        watch.position = min(watch.position, after)
        watch.readers.add(queue)
        watch.woken.set()
        if watch.task is None:
            watch.task = asyncio.create_task(self._watch(job_id, watch))
        return watch, queue

    async def _watch(self, job_id: UUID, watch: _Watch) -> None:
        try:
            while watch.readers and not self._closed and not await self._look(job_id, watch):
                pass
        finally:
            self._end(watch)
            self._watches.pop(job_id, None)

    async def _look(self, job_id: UUID, watch: _Watch) -> bool:
        """Wait for a wake-up, read once, tell every reader; True when the job is over or gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await watch.woken.wait()
        watch.woken.clear()
        start = watch.position
        try:
            news = await run_in_threadpool(self._read, job_id, start)
        except UnknownJobError:
            return True
        except DatabaseError as error:
            log.warning("could not read events, trying again: %s", error.details)
            await asyncio.sleep(self._poll_seconds)
            return False
        if watch.position < start:  # somebody joined from further back during the read
            watch.woken.set()
            return False
        self._tell(watch, news)
        return news.ended

    @staticmethod
    def _tell(watch: _Watch, news: News) -> None:
        if news.events:
            watch.position = news.events[-1].id
        if news.events or news.ended:
            for queue in watch.readers:
                queue.put_nowait(news)

    @staticmethod
    def _end(watch: _Watch) -> None:
        watch.woken.set()
        for queue in watch.readers:
            queue.put_nowait(None)
