"""Requests in flight on an invented engine: refill, order, drops, refusals, deaths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from workers.engine_child.contract import Done, Unanswered
from workers.engine_child.vllm.window import Ask, Read, Window

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


@dataclass(frozen=True)
class VLLMOutput:
    request_id: str
    finished: bool
    tokens: Sequence[int]


@dataclass
class Invented:
    """Ends the requests that were added last in each step, `at_once` of them; refuses a prompt that holds 0."""

    at_once: int = 1
    flying: dict[str, Sequence[int]] = field(default_factory=dict)
    most: int = 0
    aborted: list[str] = field(default_factory=list)
    dead: bool = False
    reading: bool = False
    steps: int = 0

    def add(self, name: str, tokens: Sequence[int], params: Mapping[str, Any]) -> Exception | None:
        del params
        if 0 in tokens:
            return ValueError("token 0")
        self.flying[name] = tokens
        self.most = max(self.most, len(self.flying))
        return None

    def ready(self, seconds: float) -> bool:
        assert seconds < 1
        return not self.reading

    def step(self) -> Iterable[VLLMOutput]:
        assert not self.reading, "it would wait"
        if self.dead:
            raise RuntimeError("dead")
        self.steps += 1
        ended = list(self.flying)[::-1][: self.at_once]
        running = [
            VLLMOutput(name, False, tokens) for name, tokens in self.flying.items() if name not in ended
        ]
        return [*running, *(VLLMOutput(name, True, self.flying.pop(name)) for name in ended)]

    def abort(self, names: Sequence[str]) -> None:
        self.aborted += names
        for name in names:
            del self.flying[name]

    def generated(self, name: str) -> int:
        assert name in self.flying
        return self.steps


@dataclass
class Heard:
    """What was reported."""

    counts: dict[UUID, int] = field(default_factory=dict)
    tokens: int = 0

    def answered(self, chunk: UUID, count: int = 1) -> None:
        self.counts[chunk] = self.counts.get(chunk, 0) + count

    def begins(self, chunk: UUID) -> None:
        raise AssertionError(chunk)

    def generated(self, tokens: int) -> None:
        self.tokens += tokens

    def warn(self, chunk: UUID, code: str, change: str) -> None:
        raise AssertionError((chunk, code, change))

    def died(self, process: str, exit_code: int | None) -> None:
        raise AssertionError((process, exit_code))


def asks(*prompts: list[int]) -> list[Ask]:
    return [Ask(prompt, {}, answering(place)) for place, prompt in enumerate(prompts)]


def answering(*places: int) -> Callable[[VLLMOutput], Read]:
    return lambda output: Read([(place, sum(output.tokens)) for place in places], len(output.tokens))


def run(window: Window, most: int = 100) -> list[Done | Unanswered]:
    ended: list[Done | Unanswered] = []
    for _ in range(most):
        ended += window.step()
    return ended


@pytest.mark.parametrize(("size", "at_once"), [(1, 1), (2, 1), (5, 3), (100, 7)])
def test_every_request_gets_its_own_response(size: int, at_once: int) -> None:
    flight, heard = Invented(at_once), Heard()
    window = Window(flight, size, heard)
    window.add(ONE, [0, 5, 0], asks([1], [2, 2], [3]))
    window.add(TWO, [0] * 10, asks(*([number] for number in range(10, 20))))
    ended = {outcome.chunk: outcome for outcome in run(window)}
    one, two = ended[ONE], ended[TWO]
    assert isinstance(one, Done)
    assert isinstance(two, Done)
    assert (one.responses.values, one.responses.tokens) == ([1, 4, 3], 4)
    assert [note.cut for note in one.responses.notes] == [0, 5, 0]
    assert two.responses.values == list(range(10, 20))
    assert heard.counts == {ONE: 3, TWO: 10}
    assert flight.most == min(size, 13)


def test_the_window_is_filled_from_chunk_after_chunk() -> None:
    flight = Invented()
    window = Window(flight, 4, Heard())
    window.add(ONE, [0] * 2, asks([1], [2]))
    window.add(TWO, [0] * 3, asks([3], [4], [5]))
    window.step()
    assert flight.most == 4


def test_a_chunk_that_came_later_may_end_first() -> None:
    window = Window(Invented(), 10, Heard())
    window.add(ONE, [0] * 2, asks([1], [2]))
    window.add(TWO, [0] * 1, asks([3]))
    assert [outcome.chunk for outcome in run(window)] == [TWO, ONE]


def test_a_refused_request_fails_its_chunk_alone() -> None:
    flight = Invented()
    window = Window(flight, 10, Heard())
    window.add(ONE, [0] * 3, asks([1], [0], [2]))
    window.add(TWO, [0] * 1, asks([3]))
    ended = {outcome.chunk: outcome for outcome in run(window)}
    one = ended[ONE]
    assert isinstance(one, Unanswered)
    assert not one.fatal
    assert isinstance(ended[TWO], Done)
    assert flight.aborted == ["0"]


def test_dropped_chunks_are_aborted_and_the_others_go_on() -> None:
    flight, heard = Invented(at_once=0), Heard()
    window = Window(flight, 3, heard)
    window.add(ONE, [0] * 2, asks([1], [2]))
    window.add(TWO, [0] * 2, asks([3], [4]))
    window.step()
    window.drop([ONE, THREE])
    assert sorted(flight.aborted) == ["0", "1"]
    flight.at_once = 1
    ended = run(window)
    assert [outcome.chunk for outcome in ended] == [TWO]
    assert heard.counts == {TWO: 2}


def test_what_waits_of_a_dropped_chunk_is_never_asked() -> None:
    flight = Invented()
    window = Window(flight, 1, Heard())
    window.add(ONE, [0] * 3, asks([1], [2], [3]))
    window.step()
    window.drop([ONE])
    assert run(window) == []
    assert (flight.flying, flight.aborted) == ({}, [])


def test_tokens_of_one_long_generation_are_told_while_it_runs() -> None:
    flight, heard = Invented(at_once=0), Heard()
    window = Window(flight, 3, heard)
    window.add(ONE, [0] * 1, asks([1]))
    window.step()
    window.step()
    assert (heard.tokens, heard.counts) == (2, {})


def test_a_dead_engine_says_so_itself() -> None:
    flight = Invented(dead=True)
    window = Window(flight, 3, Heard())
    window.add(ONE, [0] * 1, asks([1]))
    with pytest.raises(RuntimeError, match="dead"):
        window.step()


def test_a_long_prompt_keeps_nobody_waiting() -> None:
    flight = Invented(at_once=0, reading=True)
    window = Window(flight, 3, Heard())
    window.add(ONE, [0] * 1, asks([1]))
    assert window.step() == []
    window.drop([ONE])
    assert flight.aborted == ["0"]


def test_an_output_that_holds_no_answer_fails_its_chunk_alone() -> None:
    def unread(output: object) -> Read:
        raise KeyError(output)

    flight = Invented()
    window = Window(flight, 10, Heard())
    window.add(ONE, [0] * 2, [Ask([1], {}, unread), *asks([2])])
    window.add(TWO, [0] * 1, asks([3]))
    ended = {outcome.chunk: outcome for outcome in run(window)}
    assert isinstance(ended[ONE], Unanswered)
    assert isinstance(ended[TWO], Done)
    assert (flight.flying, flight.aborted) == ({}, [])


def test_a_request_may_answer_several_and_several_may_answer_one() -> None:
    seen: list[int] = []

    def half(output: VLLMOutput) -> Read:
        seen.append(sum(output.tokens))
        return Read([(0, sum(seen))] if len(seen) == 2 else [], 1)

    heard = Heard()
    window = Window(Invented(), 10, heard)
    window.add(ONE, [0] * 3, [Ask([7], {}, answering(1, 2)), Ask([3], {}, half), Ask([4], {}, half)])
    [done] = run(window)
    assert isinstance(done, Done)
    assert done.responses.values == [7, 7, 7]
    assert heard.counts == {ONE: 3}


def test_what_is_asked_again_goes_before_all_that_waits() -> None:
    flight = Invented()
    window = Window(flight, 1, Heard())
    again = Ask([9], {}, answering(0))
    window.add(ONE, [0] * 2, [Ask([1], {}, lambda _: Read((), 1, [again])), Ask([2], {}, answering(1))])
    window.step()
    window.step()
    assert not flight.flying
    ended = window.step()
    assert [outcome.chunk for outcome in ended] == [ONE]
    assert isinstance(ended[0], Done)
    assert ended[0].responses.values == [9, 2]


def test_a_chunk_that_nothing_answers_fails_and_keeps_nobody_waiting() -> None:
    window = Window(Invented(), 10, Heard())
    window.add(ONE, [0] * 2, asks([1]))
    [failed] = run(window)
    assert isinstance(failed, Unanswered)
    assert "1 requests were answered by nothing" in str(failed.error)
