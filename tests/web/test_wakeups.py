"""Redis wakes whoever reads events, and is needed for speed only."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from redis import Redis

from app.broker import EVENTS_CHANNEL
from app.domain.ids import uuid7
from app.web.wakeups import WakeUps
from tests.web.memory_log import EVERY, JOBS, MemoryLog, listening


def test_a_wake_up_of_a_watched_job_is_one_read(redis_url: str) -> None:
    def ring(job_id: UUID | str) -> int:
        with Redis.from_url(redis_url) as redis:
            return int(redis.publish(EVENTS_CHANNEL, str(job_id)))

    async def story() -> list[int]:
        log = MemoryLog(2)
        async with listening(log, poll_seconds=60) as room:
            wakeups = WakeUps(tail=room.tail, redis_url=redis_url)
            hearing = asyncio.create_task(wakeups.listen())
            stream = asyncio.create_task(room.job(JOBS[0]))
            await room.until_listening(1)
            log.count, log.ended, before = 4, True, log.reads
            async with asyncio.timeout(20):
                while not await asyncio.to_thread(ring, "no id"):
                    await asyncio.sleep(0)
                await asyncio.to_thread(ring, uuid7())
                await asyncio.to_thread(ring, JOBS[0])
                found = await stream
            assert log.reads == before + 1
            await wakeups.wait_closed(hearing)
        return found

    assert asyncio.run(story()) == [1, 2]


def test_closing_ends_a_listener_whose_connection_breaks_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listen_once(_: WakeUps) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("while closing")

    async def story() -> None:
        monkeypatch.setattr(WakeUps, "_listen_once", listen_once)
        async with listening(MemoryLog()) as room, asyncio.timeout(10):
            wakeups = WakeUps(tail=room.tail, redis_url="redis://127.0.0.1:1/0")
            hearing = asyncio.create_task(wakeups.listen())
            await asyncio.sleep(0)
            await wakeups.wait_closed(hearing)
            with room.tail.inbox(EVERY) as inbox:
                await room.tail.begin(inbox)
            assert room.tail._task is None, "nobody reads for a server that has stopped"

    asyncio.run(story())
