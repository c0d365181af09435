"""One reader for all streams; whoever is slow goes on from the database."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from app.domain.event import EventPage
from app.domain.job_filter import JobFilter
from app.errors import DatabaseRefusedError
from app.services.job_view import Glance, News
from app.web import following, inboxes
from tests.waiting import until
from tests.web.memory_log import EVERY, JOBS, MemoryLog, listening

ALICES, BOBS = JOBS


def test_a_thousand_streams_are_one_read() -> None:
    async def story() -> int:
        log = MemoryLog(2)
        async with listening(log) as room:
            streams = [asyncio.create_task(room.all(2, 4)) for _ in range(500)]
            jobs = [asyncio.create_task(room.job(JOBS[at % 2])) for at in range(500)]
            await room.until_listening(1000)
            before, log.count, log.ended = log.reads, 4, True
            assert await asyncio.gather(*streams) == [[3, 4]] * 500
            assert await asyncio.gather(*jobs) == [[1, 2]] * 500
            return log.reads - before

    assert asyncio.run(story()) < 20


def test_a_reader_gets_what_was_before_it_came_and_what_comes_each_once() -> None:
    async def story() -> list[list[int]]:
        log = MemoryLog(1200)
        async with listening(log) as room:
            with room.tail.inbox(JobFilter(task="toy")):
                streams = [asyncio.create_task(room.all(after, 1210)) for after in (0, 1199, 1200, 1205)]
                streams.append(asyncio.create_task(room.all(1190, 1209, JobFilter(owner="bob"))))
                streams += [asyncio.create_task(room.job(BOBS, after)) for after in (0, 600)]
                await room.until_listening(7)
                for log.count in range(1201, 1211):
                    await asyncio.sleep(0.005)
                log.count, log.ended = 1211, True
                found = [await stream for stream in streams]
            assert log.tasks == {"toy"}
            return found

    every, few, none, beyond, bobs, own, rest = asyncio.run(story())
    assert every[:1210] == list(range(1, 1211))
    assert few[:11] == list(range(1200, 1211))
    assert none[:10] == list(range(1201, 1211))
    assert beyond[-1] >= 1210, "a position that was never reached is the present one"
    assert bobs[:10] == [serial for serial in range(1191, 1211) if serial % 2]
    assert (own, rest) == (list(range(1, 607)), list(range(601, 607)))


def test_what_is_in_the_inbox_and_in_the_database_comes_once() -> None:
    async def story() -> list[list[int]]:
        log = MemoryLog(2)
        async with listening(log) as room:

            def meanwhile() -> None:
                log.count = 4
                until(lambda: room.tail._position == 4)

            log.meanwhile = meanwhile
            streams = [asyncio.create_task(room.all(0, 6)), asyncio.create_task(room.job(BOBS))]
            await room.until_listening(2)
            log.count, log.ended = 6, True
            return [await stream for stream in streams]

    assert asyncio.run(story()) == [[1, 2, 3, 4, 5, 6], [1, 2, 3]]


@pytest.mark.parametrize("restored", [False, True])
def test_a_slow_reader_goes_on_from_the_database(monkeypatch: pytest.MonkeyPatch, restored: bool) -> None:
    monkeypatch.setattr(inboxes, "MOST_WAITING", 5)

    async def story() -> list[int]:
        log, found = MemoryLog(10), list[int]()
        async with listening(log) as room, aclosing(room.followers.follow_all(EVERY, 10, 5.0)) as pages:
            await anext(pages)
            (inbox,) = room.tail._inboxes
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


def test_what_the_tail_is_not_told_is_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of the version before may have no serial; a job may end while nobody is told of it."""
    monkeypatch.setattr(inboxes, "MOST_WAITING", 5)

    async def story(hidden: range) -> list[int]:
        log = MemoryLog(2)
        async with listening(log, look_seconds=0.01) as room:
            stream = asyncio.create_task(room.job(ALICES))
            await room.until_listening(1)
            log.shown = hidden.start
            log.count = hidden.stop
            async with asyncio.timeout(10):
                while room.tail._position != hidden.stop:
                    await asyncio.sleep(0)
            log.shown, log.count = 10**9, hidden.stop + 1
            log.ended, log.look = True, Glance("", None, over=True)
            return await stream

    for hidden in (range(2, 4), range(2, 30), range(20, 21)):
        assert asyncio.run(story(hidden)) == list(range(1, (hidden.stop + 1) // 2 + 1))


def test_readers_outlive_the_database_and_end_with_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "AGAIN_SECONDS", 0.01)

    async def story() -> list[int]:
        log = MemoryLog(1)
        log.failure = DatabaseRefusedError("the database refused it", "no such column")
        async with listening(log) as room:
            stream = asyncio.create_task(room.all(1, 3))
            await room.until_listening(1)
            log.failures, log.count = 3, 3
            found = await stream
            endless = [asyncio.create_task(room.all(3, 9)), asyncio.create_task(room.job(BOBS, 2))]
            await room.until_listening(2)
            room.tail.close()
            assert await asyncio.gather(*endless) == [[], []]
            return found

    assert asyncio.run(story()) == [2, 3]
    assert "no such column" in caplog.text


def test_readers_outlive_what_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """Another version wrote it; who listens hears of everything after that."""

    async def story() -> list[int]:
        log = MemoryLog(1)
        log.failure = ValueError("'of_tomorrow' is not a valid JobStatus")
        async with listening(log) as room:
            stream = asyncio.create_task(room.all(1, 3))
            await room.until_listening(1)
            log.failures, log.count = 3, 3
            return await asyncio.wait_for(stream, 10)

    assert asyncio.run(story()) == [2, 3]
    assert "of_tomorrow" in caplog.text


def test_who_comes_while_others_read_misses_nothing_of_its_task() -> None:
    """Whether jobs have its task was not asked: it goes on from the database."""
    every, inbox = inboxes.Inboxes(), inboxes.Inbox(JobFilter(task="toy"))
    every.add(inbox)
    inbox.begin(1)
    every.put(EventPage([], 5, more=False), {"other"})
    assert (inbox.behind, inbox.position) == (True, 1)
    inbox.begin(5)
    every.put(EventPage([], 6, more=False), every.tasks)
    assert (inbox.behind, inbox.position) == (False, 6)


def test_a_stream_ends_when_its_job_is_gone() -> None:
    async def story() -> list[int]:
        log = MemoryLog(2)
        async with listening(log, look_seconds=0.01) as room:
            stream = asyncio.create_task(room.job(BOBS))
            await room.until_listening(1)
            log.look, log.deleted = None, True
            assert await room.job(ALICES) == []
            return await stream

    assert asyncio.run(story()) == [1]


def test_jobs_are_looked_at_together_and_a_reader_hears_of_a_change() -> None:
    async def story() -> list[News]:
        log = MemoryLog(2)
        async with (
            listening(log, look_seconds=0.01) as room,
            aclosing(room.followers.follow(ALICES, 1, 60.0)) as one,
            aclosing(room.followers.follow(BOBS, 1, 60.0)) as other,
        ):
            told = [await anext(one), await anext(other), await anext(one), await anext(other)]
            later = asyncio.create_task(anext(one))
            looked = len(log.looked)
            async with asyncio.timeout(10):
                while len(log.looked) < looked + 3:
                    await asyncio.sleep(0)
            assert not later.done(), "nothing has changed"
            log.look = Glance("loading", None, over=False)
            told.append(await later)
        assert set(JOBS) in log.looked
        return told

    first, _, waiting, _, loading = asyncio.run(story())
    assert first == News([], ended=False)
    assert [news.look and news.look.reason for news in (waiting, loading)] == ["waiting", "loading"]


def test_nobody_reads_when_nobody_listens() -> None:
    async def story() -> None:
        log = MemoryLog(1)
        async with listening(log) as room:
            log.count = 2
            assert await room.all(1, 2) == [2]
            async with asyncio.timeout(10):
                while room.tail._task:
                    await asyncio.sleep(0)
            log.count = 5
            assert await room.all(2, 5) == [3, 4, 5]

    asyncio.run(story())
