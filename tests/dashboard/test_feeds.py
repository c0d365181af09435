"""What many look at is computed once for all of them, and told to each from where it was."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from app.dashboard import feeds as module
from app.dashboard.feeds import ENDED, Feeds, LastRegions, View
from app.domain.event import EventPage
from app.domain.ids import uuid7
from app.errors import DatabaseUnreachableError, UnknownJobError
from app.web.tail import Tail

RED, BLUE = View("queue", "red", may_change=True), View("queue", "blue", may_change=True)


class Nothing:
    """A log in which nothing happens."""

    def position(self) -> int:
        return 0

    def page(self, after: int, limit: int, wanted: object = None, **_: object) -> EventPage:
        return EventPage([], after, more=False)


@pytest.fixture
def feeds(monkeypatch: pytest.MonkeyPatch) -> Feeds:
    for name in ("LEAST_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(module, name, 0.01)
    return Feeds(Tail(Nothing(), lambda _: {}, poll_seconds=0.01))


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(bounded())


async def told(messages: object) -> tuple[str, list[str]]:
    """The next message that tells anything: its id, and the regions in it."""
    async for message in messages:  # type: ignore[attr-defined]
        if found := re.search(rb"id: (\S+)", message):
            return found[1].decode(), re.findall(r'hx-target="#(\w+)"', message.decode())
    raise AssertionError("it ended")


def test_one_look_serves_all_who_see_the_same(feeds: Feeds) -> None:
    looks: list[str] = []
    shown = {"summary": "1", "gpus": "1"}

    def regions(team: str) -> Callable[[], dict[str, str]]:
        def look() -> dict[str, str]:
            looks.append(team)
            return dict(shown)

        return look

    async def story() -> None:
        streams = [feeds.follow(RED, regions("red"), "") for _ in range(5)]
        streams.append(feeds.follow(BLUE, regions("blue"), ""))
        first = await asyncio.gather(*map(told, streams))
        assert [names for _, names in first] == [["summary", "gpus"]] * 6
        assert len(feeds._feeds) == 2
        shown["gpus"] = "2"
        again = await asyncio.gather(*map(told, streams))
        assert [names for _, names in again] == [["gpus"]] * 6, "only what changed is sent"
        late = feeds.follow(RED, regions("late"), first[0][0])
        assert (await told(late))[1] == ["gpus"], "who comes again hears what it has missed"
        early = feeds.follow(RED, regions("early"), f"{first[0][0]}0000")
        assert len((await told(early))[1]) == 2, "a number that was never given is none"
        elsewhere = feeds.follow(BLUE, regions("elsewhere"), again[0][0])
        assert len((await told(elsewhere))[1]) == 2, "nor is one of another feed"
        assert set(looks) == {"red", "blue"}
        for stream in (*streams, late, early, elsewhere):
            await stream.aclose()
        while feeds._feeds:
            await asyncio.sleep(0.01)
        feeds._tail.close()
        await feeds._tail.wait_closed()

    run(story)


def test_an_outage_ends_no_stream(feeds: Feeds) -> None:
    fails = [True, True]

    def regions() -> dict[str, str]:
        if fails:
            fails.pop()
            raise DatabaseUnreachableError("gone")
        return {"summary": "1"}

    async def story() -> None:
        stream = feeds.follow(RED, regions, "")
        assert (await told(stream))[1] == ["summary"]
        feeds._tail.close()
        assert not [message async for message in stream if b"id: " in message], "it ends with the server"
        await feeds.wait_closed()
        await feeds._tail.wait_closed()
        assert not feeds._feeds

    run(story)


def test_a_page_that_cannot_be_shown_is_no_page_that_stands_still(
    feeds: Feeds, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[str] = []

    def regions() -> dict[str, str]:
        looks.append("")
        if len(looks) == 2:
            raise OverflowError("an odd row")
        return {"summary": str(len(looks))}

    async def story() -> None:
        stream = feeds.follow(RED, regions, "")
        number, _ = await told(stream)
        assert not [message async for message in stream if b"id: " in message], (
            "it ends, and is asked for again"
        )
        again = feeds.follow(RED, regions, number)
        assert (await told(again))[1] == ["summary"]
        feeds._tail.close()
        await again.aclose()
        await feeds.wait_closed()
        await feeds._tail.wait_closed()

    run(story)
    assert "could not show the page queue" in caplog.text


@pytest.mark.parametrize("end", ["over", "deleted"])
def test_a_page_that_is_over_says_so_to_each_of_its_readers(feeds: Feeds, end: str) -> None:
    view = View("job", None, may_change=True, job=uuid7())
    left = [{"state": "running"}]

    def regions() -> dict[str, str]:
        if left:
            return left.pop()
        if end == "deleted":
            raise UnknownJobError("gone")
        return LastRegions(state="failed")

    async def story() -> None:
        streams = [feeds.follow(view, regions, "") for _ in range(3)]
        await asyncio.gather(*map(told, streams))
        for stream in streams:
            *_, before, last = [message async for message in stream]
            assert last == ENDED
            assert (b"failed" in before) is (end == "over")
        again = [message async for message in feeds.follow(view, regions, "")]
        assert again[-1] == ENDED, "who comes later, too"
        feeds._tail.close()
        await feeds.wait_closed()
        await feeds._tail.wait_closed()

    run(story)
