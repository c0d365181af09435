"""One reader for all streams over all jobs; whoever is slow goes on from the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime

import pytest

from app.domain.event import Event, EventPage, SerialEvent
from app.domain.ids import uuid7
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter, Subject
from app.errors import DatabaseUnreachableError
from app.web import following
from app.web import tail as tails
from app.web.following import follow_all
from app.web.tail import Tail

NOW = datetime.now(UTC)
EVERY = JobFilter()


class MemoryLog:
    """Events of two owners by turns; counts how often it is read."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.reads = 0
        self.failures = 0
        self.tasks: set[str] = set()

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
        self.reads += 1
        self.tasks |= set(tasks)
        if self.failures:
            self.failures -= 1
            raise DatabaseUnreachableError("restarting")
        if after > self.count:
            return EventPage([], self.count, more=False)
        upto = min(after + limit, self.count)
        found = [event for event in map(told, range(after + 1, upto + 1)) if wanted.matches(event.job)]
        return EventPage(found, upto, more=upto < self.count)


def told(serial: int) -> SerialEvent:
    owner = ("alice", "bob")[serial % 2]
    job = Subject(uuid7(), JobStatus.RUNNING, owner, "default", "tiny", frozenset(), None, NOW)
    return SerialEvent(serial, job, Event(serial, NOW, "job.progress", {}))


@asynccontextmanager
async def tailing(log: MemoryLog) -> AsyncIterator[Tail]:
    tail = Tail(log, poll_seconds=0.01)
    try:
        yield tail
    finally:
        await tail.wait_closed()


async def collect(tail: Tail, log: MemoryLog, after: int, upto: int, wanted: JobFilter = EVERY) -> list[int]:
    """The serials that a reader is told, until its position is there."""
    found: list[int] = []
    async with aclosing(follow_all(tail, log, wanted, after, 5.0)) as pages:
        async for page in pages:
            found += [event.serial for event in page.events]
            if page.position >= upto:
                break
    return found


async def until_listening(tail: Tail, readers: int) -> None:
    async with asyncio.timeout(10):
        while len(tail._inboxes) < readers or not all(inbox.position for inbox in tail._inboxes):
            await asyncio.sleep(0)


def test_a_thousand_streams_are_one_read() -> None:
    async def story() -> int:
        log = MemoryLog(2)
        async with tailing(log) as tail:
            streams = [asyncio.create_task(collect(tail, log, 2, 4)) for _ in range(1000)]
            await until_listening(tail, 1000)
            async with asyncio.timeout(20):
                while log.reads < 1000:  # each looks once at what there was before it came
                    await asyncio.sleep(0)
            before, log.count = log.reads, 4
            assert await asyncio.gather(*streams) == [[3, 4]] * 1000
            return log.reads - before

    assert asyncio.run(story()) < 100


def test_a_reader_gets_what_was_before_it_came_and_what_comes_each_once() -> None:
    async def story() -> list[list[int]]:
        log = MemoryLog(1200)
        async with tailing(log) as tail:
            bobs = JobFilter(owner="bob", task="toy")
            with tail.inbox(bobs):
                streams = [
                    asyncio.create_task(collect(tail, log, after, 1210)) for after in (0, 1199, 1200, 1205)
                ]
                streams.append(asyncio.create_task(collect(tail, log, 1190, 1209, JobFilter(owner="bob"))))
                await until_listening(tail, 5)
                for log.count in range(1201, 1211):
                    await asyncio.sleep(0.005)
                found = [await stream for stream in streams]
            assert log.tasks == {"toy"}
            return found

    every, few, none, beyond, bobs = asyncio.run(story())
    assert every == list(range(1, 1211))
    assert few == list(range(1200, 1211))
    assert none == list(range(1201, 1211))
    assert beyond[-1] == 1210, "a position that was never reached is the present one"
    assert bobs == [serial for serial in range(1191, 1211) if serial % 2]


@pytest.mark.parametrize("restored", [False, True])
def test_a_slow_reader_goes_on_from_the_database(monkeypatch: pytest.MonkeyPatch, restored: bool) -> None:
    monkeypatch.setattr(tails, "MOST_WAITING", 5)

    async def story() -> list[int]:
        log, found = MemoryLog(10), list[int]()
        async with tailing(log) as tail, aclosing(follow_all(tail, log, EVERY, 10, 5.0)) as pages:
            await anext(pages)
            (inbox,) = tail._inboxes
            log.count = 30
            async with asyncio.timeout(10):
                while not inbox.behind:
                    await asyncio.sleep(0.001)
                assert not inbox._events, "it holds nothing for a reader that does not come"
                log.count = 4 if restored else 32
                while len(found) < (2 if restored else 22):
                    found += [event.serial for event in (await anext(pages)).events]
                    log.count += restored
        return found

    assert asyncio.run(story())[:22] == ([5, 6] if restored else list(range(11, 33)))


def test_readers_outlive_the_database_and_end_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AGAIN_SECONDS", 0.01)

    async def story() -> list[int]:
        log = MemoryLog(1)
        async with tailing(log) as tail:
            stream = asyncio.create_task(collect(tail, log, 1, 3))
            await until_listening(tail, 1)
            log.failures, log.count = 3, 3
            found = await stream
            endless = asyncio.create_task(collect(tail, log, 3, 9))
            await until_listening(tail, 1)
            tail.close()
            assert await endless == []
            return found

    assert asyncio.run(story()) == [2, 3]


def test_nobody_reads_when_nobody_listens() -> None:
    async def story() -> None:
        log = MemoryLog(1)
        async with tailing(log) as tail:
            log.count = 2
            assert await collect(tail, log, 1, 2) == [2]
            async with asyncio.timeout(10):
                while tail._task:
                    await asyncio.sleep(0)
            log.count = 5
            assert await collect(tail, log, 2, 5) == [3, 4, 5]

    asyncio.run(story())
