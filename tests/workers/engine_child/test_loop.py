"""An engine at work: order, drops, refusals, deaths, progress, idling, garbage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import msgpack
import pytest

from app.domain.ids import uuid7
from workers.engine_child.contract import ChunkResponses, Done, Engine, OpenChunk, Outcome, Unanswered
from workers.engine_child.echo.answers import response
from workers.engine_child.echo.engine import load
from workers.engine_child.loop import Loop
from workers.engine_child.one_at_a_time import InWork, OneAtATime
from workers.engine_child.telling import INTERVAL_SECONDS, Telling
from workers.protocol.engine import (
    AnswerChunk,
    Answered,
    ChunkFailed,
    Drop,
    EngineRecipe,
    FromEngine,
    Load,
    Progressed,
    ToEngine,
    Warned,
)
from workers.protocol.payload import RequestKind, pack_requests

MODES: Sequence[Mapping[str, Any]] = ({}, {"stream": True, "window": 6})
both_modes = pytest.mark.parametrize("mode", MODES, ids=["one at a time", "stream"])


def texts(name: str, count: int = 4) -> list[str]:
    return [f"{name} {number}" for number in range(count)]


def chunk(requests: Sequence[str]) -> AnswerChunk:
    return AnswerChunk(uuid7(), RequestKind.GENERATE, 4, {}, None, pack_requests(requests))


class Bench:
    """A loop without a socket: what it is told before each step, and all that it says."""

    def __init__(self, make: Callable[[Telling], Engine]) -> None:
        self.said: list[FromEngine] = []
        self.inbox: SimpleQueue[ToEngine] = SimpleQueue()
        self.now = 0.0
        telling = Telling(self.said.append, lambda: self.now)
        self.loop = Loop(make(telling), self.inbox, self.said.append, telling)

    def tell(self, *messages: ToEngine) -> None:
        for message in messages:
            self.inbox.put(message)

    def settled(self) -> dict[UUID, Answered | ChunkFailed]:
        """Chunks that ended, in that order."""
        return {
            message.chunk: message for message in self.said if isinstance(message, Answered | ChunkFailed)
        }

    def work(self, count: int) -> list[Answered | ChunkFailed]:
        """Until so many more chunks have ended; more steps than there is work are none."""
        before = len(self.settled())
        while len(self.settled()) < before + count:
            assert self.loop.once()
        return list(self.settled().values())[before:]


def echo(**args: Any) -> Bench:
    return Bench(lambda telling: load(Load(EngineRecipe("echo", "-", args=args), "cpu", 8), telling))


def values(message: Answered | ChunkFailed) -> list[Any]:
    assert isinstance(message, Answered), message
    return [msgpack.unpackb(packed) for packed in message.responses]


def hashes(requests: Sequence[str]) -> list[Any]:
    return [response(RequestKind.GENERATE, request) for request in requests]


@both_modes
def test_every_chunk_is_answered_as_it_is_alone(mode: Mapping[str, Any]) -> None:
    bench = echo(**mode)
    asked = {name: chunk(texts(name)) for name in "abcde"}
    bench.tell(*asked.values())
    bench.work(5)
    for name, message in asked.items():
        assert values(bench.settled()[message.chunk]) == hashes(texts(name))


def test_one_that_takes_chunks_one_at_a_time_keeps_their_order() -> None:
    bench, asked = echo(), [chunk(texts(name)) for name in "abcde"]
    bench.tell(*asked)
    bench.work(5)
    assert list(bench.settled()) == [message.chunk for message in asked]


def test_one_that_streams_answers_in_an_order_that_its_seed_draws() -> None:
    asked = [chunk(texts(name, count=2)) for name in "abcdefgh"]
    orders = []
    for seed in (1, 1, 2):
        bench = echo(stream=True, window=16, order_seed=seed)
        bench.tell(*asked)
        bench.work(8)
        orders.append(list(bench.settled()))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != [message.chunk for message in asked]


@both_modes
def test_a_chunk_that_waits_is_dropped_and_the_others_are_not_drained(mode: Mapping[str, Any]) -> None:
    bench = echo(**mode)
    kept, dropped, last = (chunk(texts(name, count=8)) for name in ("kept", "dropped", "last"))
    bench.tell(kept, dropped, last)
    assert bench.loop.once()
    bench.tell(Drop((dropped.chunk, uuid7())))
    bench.work(2 - len(bench.settled()))
    assert set(bench.settled()) == {kept.chunk, last.chunk}
    assert values(bench.settled()[last.chunk]) == hashes(texts("last", count=8))


@both_modes
def test_an_engine_whose_chunks_are_all_dropped_waits_for_others(mode: Mapping[str, Any]) -> None:
    bench = echo(**mode)
    dropped, next_one = chunk(texts("dropped")), chunk(texts("next"))
    bench.tell(dropped, Drop((dropped.chunk,)))
    assert bench.loop.once()
    assert bench.said == []
    bench.tell(next_one)
    assert bench.work(1)[0].chunk == next_one.chunk


class Slow:
    """A model whose requests take long, and during whose first one a drop comes in."""

    provenance: Mapping[str, Any] = {}

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.asked: list[str] = []
        self.recovered = 0
        self._meanwhile = meanwhile

    def answer(self, chunk: OpenChunk, work: InWork) -> ChunkResponses:
        for request in chunk.requests:
            self.asked.append(request)
            self._meanwhile()
            work.generated(1)
            work.answered()
        return ChunkResponses(hashes(chunk.requests), 1, 1)

    def recover(self) -> None:
        self.recovered += 1


def test_a_chunk_in_work_is_dropped_at_its_next_token() -> None:
    dropped, after = chunk(texts("dropped")), chunk(texts("after"))
    model = Slow(lambda: bench.tell(Drop((dropped.chunk,))))
    bench = Bench(lambda telling: OneAtATime(model, telling))
    bench.tell(dropped, after)
    assert [message.chunk for message in bench.work(1)] == [after.chunk]
    assert model.asked == ["dropped 0", *texts("after")]
    assert model.recovered == 1


@both_modes
def test_a_refused_request_fails_its_chunk_alone(mode: Mapping[str, Any]) -> None:
    bench = echo(fail_on="poison", **mode)
    good, bad, other = (chunk(requests) for requests in (texts("good"), ["fine", "poison"], texts("other")))
    bench.tell(good, bad, other)
    bench.work(3)
    failed = bench.settled()[bad.chunk]
    assert isinstance(failed, ChunkFailed)
    assert (failed.error.type, failed.fatal) == ("workers.engine_child.echo.faults.EchoError", False)
    assert values(bench.settled()[good.chunk]) == hashes(texts("good"))
    assert values(bench.settled()[other.chunk]) == hashes(texts("other"))


def test_what_cannot_be_opened_fails_alone() -> None:
    bench = echo()
    garbage, good = replace(chunk(["x"]), payload=b"no payload"), chunk(texts("good"))
    bench.tell(garbage, good)
    failed, answered = bench.work(2)
    assert isinstance(failed, ChunkFailed)
    assert (failed.chunk, failed.fatal) == (garbage.chunk, False)
    assert answered.chunk == good.chunk


@both_modes
def test_an_engine_that_does_not_survive_a_chunk_is_asked_no_more(mode: Mapping[str, Any]) -> None:
    bench = echo(fails_with="ecc", fails_while="answering", **mode)
    first, second = chunk(texts("first")), chunk(texts("second"))
    bench.tell(first, second)
    bench.loop.run()
    (failed,) = bench.settled().values()
    assert isinstance(failed, ChunkFailed)
    assert (failed.chunk, failed.fatal) == (first.chunk, True)


class Breaking:
    """An engine whose step raises, as vLLM's does when its core is dead."""

    provenance: Mapping[str, Any] = {}
    window = 4

    def add(self, chunk: OpenChunk) -> None:
        self.chunk = chunk.id

    def drop(self, chunks: Collection[UUID]) -> None:
        pass

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        raise OSError("the core is gone")


def test_an_engine_that_breaks_blames_no_chunk() -> None:
    bench = Bench(lambda telling: Breaking())
    bench.tell(chunk(["x"]))
    with pytest.raises(OSError, match="the core is gone"):
        bench.loop.run()
    assert bench.said == []


class Ending(Breaking):
    """An engine that ends three chunks in one step, one of them fatally."""

    def __init__(self) -> None:
        self.chunks: list[UUID] = []

    def add(self, chunk: OpenChunk) -> None:
        self.chunks.append(chunk.id)

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        return [Unanswered(chunk, ValueError("no"), fatal=not i) for i, chunk in enumerate(self.chunks)]


def test_all_that_ended_with_a_fatal_chunk_is_told() -> None:
    bench = Bench(lambda telling: Ending())
    asked = [chunk(["x"]) for _ in range(3)]
    bench.tell(*asked)
    assert not bench.loop.once()
    assert list(bench.settled()) == [message.chunk for message in asked]


class Late(Breaking):
    """An engine that ends a chunk though it was dropped meanwhile."""

    def __init__(self, meanwhile: Callable[[UUID], None]) -> None:
        self._meanwhile = meanwhile

    def step(self, hear: Callable[[], None]) -> Sequence[Outcome]:
        self._meanwhile(self.chunk)
        hear()
        return [Done(self.chunk, ChunkResponses(["x"], 1, 1), 0.1)]


def test_a_chunk_that_ends_as_it_is_dropped_is_not_told_of() -> None:
    bench = Bench(lambda telling: Late(lambda dropped: bench.tell(Drop((dropped,)))))
    bench.tell(chunk(["x"]))
    assert bench.loop.once()
    assert bench.said == []


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


def test_the_other_requests_of_a_refused_chunk_are_not_answered() -> None:
    bench = echo(stream=True, fail_on="poison", window=6)
    good = chunk(["good"])
    bench.tell(chunk(["poison", *texts("other", count=20)]))
    assert bench.loop.once()
    bench.tell(good)
    assert bench.loop.once()
    assert good.chunk in bench.settled()


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
    telling.again(one)
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


def test_a_model_is_loaded_once() -> None:
    bench = echo()
    bench.tell(Load(EngineRecipe("echo", "-"), "cpu", 8))
    with pytest.raises(ValueError, match="once"):
        bench.loop.run()
