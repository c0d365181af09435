"""An engine at work: order, drops, refusals, deaths, idling, garbage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.domain.ids import uuid7
from workers.engine_child.contract import ChunkResponses, Done, OpenChunk, Outcome, Unanswered
from workers.engine_child.one_at_a_time import OneAtATime
from workers.protocol.engine import (
    ChunkFailed,
    Drop,
    EngineRecipe,
    Load,
)

from .bench import Bench, Slow, both_modes, chunk, echo, hashes, texts, values


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
    measured: Mapping[str, float] = {}
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


def test_the_other_requests_of_a_refused_chunk_are_not_answered() -> None:
    bench = echo(stream=True, fail_on="poison", window=6)
    good = chunk(["good"])
    bench.tell(chunk(["poison", *texts("other", count=20)]))
    assert bench.loop.once()
    bench.tell(good)
    assert bench.loop.once()
    assert good.chunk in bench.settled()


def test_a_model_is_loaded_once() -> None:
    bench = echo()
    bench.tell(Load(EngineRecipe("echo", "-"), "cpu", 8))
    with pytest.raises(ValueError, match="once"):
        bench.loop.run()
