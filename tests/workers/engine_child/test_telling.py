"""What an engine tells while it works: progress a few times a second, and troubles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain.ids import uuid7
from workers.engine_child.contract import ChunkResponses, OpenChunk
from workers.engine_child.one_at_a_time import InWork, OneAtATime
from workers.engine_child.telling import INTERVAL_SECONDS, Telling
from workers.protocol.engine import (
    FromEngine,
    Progressed,
    Warned,
)

from .bench import Bench, Slow, both_modes, chunk, echo, texts


def test_tokens_are_told_with_their_chunk_before_its_first_request_ends() -> None:
    def a_moment_later() -> None:
        bench.now += INTERVAL_SECONDS

    bench = Bench(lambda telling: OneAtATime(Slow(a_moment_later), telling))
    long, waiting = chunk(["long"]), chunk(["waits"])
    bench.tell(long, waiting)
    bench.work(1)
    told = next(message for message in bench.said if isinstance(message, Progressed))
    assert (told.answered, told.tokens) == (((long.chunk, 0),), 1)


class Retrying(Slow):
    """A model that answers each chunk twice, the first time for nothing."""

    def answer(self, chunk: OpenChunk, work: InWork) -> ChunkResponses:
        super().answer(chunk, work)
        work.again("gpu_out_of_memory", "batch size 8 -> 4")
        return super().answer(chunk, work)


def test_progress_of_a_chunk_that_is_tried_again_falls_and_ends_with_it() -> None:
    def a_moment_later() -> None:
        bench.now += (
            INTERVAL_SECONDS / 2
        )  # told every second time: with each request's end, not with its token

    bench = Bench(lambda telling: OneAtATime(Retrying(a_moment_later), telling))
    first, second = chunk(texts("first", count=4)), chunk(texts("second", count=2))
    bench.tell(first, second)
    bench.work(2)
    told = [message.answered for message in bench.said if isinstance(message, Progressed)]
    counts = [count for one in told for chunk_, count in one if chunk_ == first.chunk]
    assert max(counts) <= 4
    assert sorted(counts) != counts
    after = [one for one in told if second.chunk in dict(one)]
    assert after
    assert all(first.chunk not in dict(one) for one in after)


def test_progress_counts_all_chunks_in_work_and_tokens_since_the_last() -> None:
    bench = echo(stream=True, window=8)
    asked = [chunk(texts(name)) for name in "ab"]
    bench.tell(*asked)
    for _ in range(2):
        assert bench.loop.once()
    assert bench.said == [], "too soon"
    bench.now += INTERVAL_SECONDS
    assert bench.loop.once()
    (told,) = bench.said
    assert isinstance(told, Progressed)
    assert {one for one, _ in told.answered} <= {message.chunk for message in asked}
    assert sum(dict(told.answered).values()) == 3
    assert told.tokens == 8, "four a request; the last request's are told the next time"


def test_progress_moves_while_no_request_ends() -> None:
    said: list[FromEngine] = []
    moments = iter([0.0, 0.1, 0.3, 0.4, 0.6])
    telling = Telling(said.append, lambda: next(moments))
    for _ in range(4):
        telling.generated(3)
    assert said == [Progressed((), 6), Progressed((), 6)]


def test_a_chunk_that_is_tried_again_counts_anew_and_one_that_is_over_no_more() -> None:
    said: list[FromEngine] = []
    moments = iter([0.0, 1.0, 2.0, 3.0])
    telling = Telling(said.append, lambda: next(moments))
    one, other = uuid7(), uuid7()
    telling.answered(one, 5)
    telling.begins(one)
    telling.answered(other)
    telling.over(one)
    telling.answered(other)
    assert said == [
        Progressed(((one, 5),), 0),
        Progressed(((one, 0), (other, 1)), 0),
        Progressed(((other, 2),), 0),
    ]


@both_modes
def test_a_cured_trouble_is_told_with_its_chunk(mode: Mapping[str, Any]) -> None:
    bench, asked = echo(warns="batch size 8 -> 4", **mode), chunk(["x"])
    bench.tell(asked)
    bench.work(1)
    assert bench.said[0] == Warned(asked.chunk, "asked_to_warn", "batch size 8 -> 4")
