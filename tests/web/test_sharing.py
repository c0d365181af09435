"""Reads that many ask for at once are done once, and nobody gets what is older than the question."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app.web.sharing import Shared


def test_who_asks_during_a_read_shares_the_next_one() -> None:
    goes_on, reads = threading.Event(), 0

    def work() -> int:
        nonlocal reads
        reads += 1
        assert goes_on.wait(20)
        return reads

    async def story() -> tuple[list[int], int]:
        shared = Shared()
        first = [asyncio.create_task(shared.read("job", work)) for _ in range(3)]
        async with asyncio.timeout(20):
            while not reads:
                await asyncio.sleep(0)
        later = [asyncio.create_task(shared.read("job", work)) for _ in range(3)]
        other = asyncio.create_task(shared.read("another", lambda: 7))
        assert await other == 7
        first.pop().cancel()
        goes_on.set()
        found = await asyncio.gather(*first, *later)
        assert not shared._begun
        assert not shared._next
        return found, await shared.read("job", work)

    assert asyncio.run(story()) == ([1, 1, 2, 2, 2], 3)


def test_a_read_that_fails_tells_all_who_asked() -> None:
    async def story() -> None:
        shared = Shared()
        asked = [asyncio.create_task(shared.read("job", lambda: 1 // 0)) for _ in range(2)]
        for each in asked:
            with pytest.raises(ZeroDivisionError):
                await each
        assert await shared.read("job", lambda: 1) == 1

    asyncio.run(story())
