"""Streams share reads, and need Redis for speed only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import pytest
from redis import Redis

from app.broker import EVENTS_CHANNEL
from app.domain.event import Event
from app.domain.ids import uuid7
from app.errors import DatabaseError, DatabaseRefusedError, DatabaseUnreachableError, UnknownJobError
from app.services.job_view import News
from app.web.tail import Tail
from app.web.wakeups import WakeUps
from tests.web.test_tail import MemoryLog

JOB = uuid7()
NOWHERE = "redis://127.0.0.1:1/0"


class Log:
    """A job's events in memory; counts how often it is read."""

    def __init__(self) -> None:
        self.count = 1
        self.ended = False
        self.deleted = False
        self.failures = 0
        self.failure: DatabaseError = DatabaseUnreachableError("restarting")
        self.reads = 0

    def read(self, _: UUID, after: int) -> News:
        self.reads += 1
        if self.deleted:
            raise UnknownJobError("gone")
        if self.failures:
            self.failures -= 1
            raise self.failure
        numbers = range(after + 1, self.count + 1)
        return News([Event(number, datetime.now(UTC), "job.progress", {}) for number in numbers], self.ended)


@asynccontextmanager
async def listening(log: Log, url: str, poll_seconds: float) -> AsyncIterator[WakeUps]:
    tail = Tail(MemoryLog())
    wakeups = WakeUps(read=log.read, tail=tail, redis_url=url, poll_seconds=poll_seconds)
    task = asyncio.create_task(wakeups.listen())
    try:
        yield wakeups
    finally:
        await wakeups.wait_closed(task)


async def collect(wakeups: WakeUps, after: int = 0) -> list[int]:
    return [event.id async for news in wakeups.follow(JOB, after, 5.0) for event in news.events]


async def until_watched(wakeups: WakeUps, readers: int) -> None:
    async with asyncio.timeout(10):
        while JOB not in wakeups._watches or len(wakeups._watches[JOB].readers) < readers:
            await asyncio.sleep(0)


def test_one_wake_up_is_one_read_for_all_streams(redis_url: str) -> None:
    async def story() -> int:
        log = Log()
        async with listening(log, redis_url, poll_seconds=60) as wakeups:
            streams = [asyncio.create_task(collect(wakeups)) for _ in range(20)]
            await until_watched(wakeups, 20)
            watch = wakeups._watches[JOB]
            async with asyncio.timeout(10):
                while watch.woken.is_set():
                    await asyncio.sleep(0)
            before = log.reads
            log.count, log.ended = 5, True
            with Redis.from_url(redis_url) as redis:
                while not redis.publish(EVENTS_CHANNEL, str(JOB)):
                    await asyncio.sleep(0)
            for stream in streams:
                assert await stream == [1, 2, 3, 4, 5]
            return log.reads - before

    assert asyncio.run(story()) <= 2  # the read that joining asked for may still be due


@pytest.mark.parametrize("failures", [0, 3])
def test_streams_go_on_without_redis_and_across_a_restart_of_postgres(failures: int) -> None:
    async def story() -> list[int]:
        log = Log()
        async with listening(log, NOWHERE, poll_seconds=0.01) as wakeups:
            stream = asyncio.create_task(collect(wakeups))
            await until_watched(wakeups, 1)
            log.failures, log.count, log.ended = failures, 3, True
            return await stream

    assert asyncio.run(story()) == [1, 2, 3]


def test_the_servers_log_says_what_the_database_refused(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        log = Log()
        log.failure = DatabaseRefusedError("the database refused it", "no such column")
        async with listening(log, NOWHERE, poll_seconds=0.01) as wakeups:
            stream = asyncio.create_task(collect(wakeups))
            await until_watched(wakeups, 1)
            log.failures, log.ended = 1, True
            await stream

    asyncio.run(story())
    assert "no such column" in caplog.text


def test_a_stream_from_further_back_misses_nothing() -> None:
    async def story() -> list[list[int]]:
        log = Log()
        log.count = 4
        async with listening(log, NOWHERE, poll_seconds=0.01) as wakeups:
            streams = [asyncio.create_task(collect(wakeups, after)) for after in (4, 0, 2)]
            await until_watched(wakeups, 3)
            log.count, log.ended = 6, True
            return [await stream for stream in streams]

    assert asyncio.run(story()) == [[5, 6], [1, 2, 3, 4, 5, 6], [3, 4, 5, 6]]


def test_a_stream_ends_when_its_job_is_deleted() -> None:
    async def story() -> list[int]:
        log = Log()
        async with listening(log, NOWHERE, poll_seconds=0.01) as wakeups:
            stream = asyncio.create_task(collect(wakeups))
            await until_watched(wakeups, 1)
            log.deleted = True
            return await stream

    assert asyncio.run(story()) == [1]


def test_an_idle_stream_says_so() -> None:
    async def story() -> News:
        log = Log()
        async with listening(log, NOWHERE, poll_seconds=60) as wakeups:
            stream = wakeups.follow(JOB, 1, 0.01)
            await anext(stream)
            idle = await anext(stream)
            await stream.aclose()
            return idle

    assert asyncio.run(story()) == News([], ended=False)


def test_nobody_is_left_waiting_when_the_last_reader_goes() -> None:
    async def story() -> None:
        log = Log()
        async with listening(log, NOWHERE, poll_seconds=0.01) as wakeups:
            stream = asyncio.create_task(collect(wakeups))
            await until_watched(wakeups, 1)
            stream.cancel()
            async with asyncio.timeout(10):
                while wakeups._watches:
                    await asyncio.sleep(0)

    asyncio.run(story())


def test_closing_ends_a_listener_whose_connection_breaks_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listen_once(_: WakeUps) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("while closing")

    async def story() -> None:
        monkeypatch.setattr(WakeUps, "_listen_once", listen_once)
        async with listening(Log(), NOWHERE, poll_seconds=60), asyncio.timeout(10):
            await asyncio.sleep(0)

    asyncio.run(story())
