"""Fast scoring on an invented engine that remembers blocks as vLLM does, beside the same asked in the stock way."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest

from workers.engine_child.vllm.forking import CacheShape, asks_of
from workers.engine_child.vllm.scoring import STOCK, cut_left, stock_ask
from workers.engine_child.vllm.window import Ask

LONGEST = 200
VOCABULARY = 50
Pair = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Told:
    """As vLLM's Logprob."""

    logprob: float


def follows(before: Sequence[int], token: int) -> float:
    """What an invented model makes of a token, by its place and the last ones before it."""
    return -(crc32(bytes([len(before) % 256, *before[-5:], token])) % 997) / 99.7


def likeliest(before: Sequence[int]) -> int:
    return _likeliest(len(before), tuple(before[-5:]))


@cache
def _likeliest(length: int, last: tuple[int, ...]) -> int:
    before = [0] * (length - len(last)) + list(last)
    return max(range(VOCABULARY), key=lambda token: follows(before, token))


@dataclass
class Remembering:
    """Answers a request at a time; what it has in its blocks it does not compute again."""

    block: int | None = 16
    absent: bool = False
    """Rows that it did not compute are not there; else nobody can read them."""
    preempts: frozenset[int] = frozenset()
    """The numbers of requests that it began twice."""
    kept: set[tuple[int, ...]] = field(default_factory=set)
    asked: list[Ask] = field(default_factory=list)
    computed: int = 0

    def output(self, ask: Ask) -> Any:
        tokens, wants_rows = list(ask.tokens), "prompt_logprobs" in ask.params
        reads = not wants_rows or ask.params.get("skip_reading_prefix_cache") is False
        cached = self._cached(tokens) if reads else 0
        preempted = reads and len(self.asked) in self.preempts
        unread = len(tokens) - 1 if preempted else cached
        self.asked.append(ask)
        self.computed += len(tokens) - cached
        self.kept |= {tuple(tokens[:end]) for end in self._ends(tokens)}
        return SimpleNamespace(
            prompt_token_ids=tokens,
            num_cached_tokens=cached,
            metrics=SimpleNamespace(num_preemptions=int(preempted)),
            prompt_logprobs=self._rows(tokens, unread) if wants_rows else None,
            outputs=[self._generated(tokens, ask.params)],
        )

    def _ends(self, tokens: Sequence[int]) -> Iterable[int]:
        return range(self.block, len(tokens) + 1, self.block) if self.block else ()

    def _cached(self, tokens: Sequence[int]) -> int:
        ends = [end for end in self._ends(tokens) if tuple(tokens[:end]) in self.kept and end < len(tokens)]
        return max(ends, default=0)

    def _rows(self, tokens: Sequence[int], unread: int) -> list[dict[int, Told] | None]:
        rows = [
            {each: Told(follows(tokens[:place], each)) for each in {tokens[place], likeliest(tokens[:place])}}
            for place in range(1, len(tokens))
        ]
        return [None, *(rows[unread:] if self.absent else [{}] * unread + rows[unread:])]

    def _generated(self, tokens: Sequence[int], params: Mapping[str, Any]) -> Any:
        best, wanted = likeliest(tokens), params.get("logprob_token_ids", ())
        assert len(wanted) <= 128
        assert all(token < VOCABULARY for token in wanted), "it would end"
        row = {token: Told(follows(tokens, token)) for token in [best, *wanted]}
        return SimpleNamespace(finish_reason="length", token_ids=[best], logprobs=[row])

    def answers(self, asks: Sequence[Ask], count: int) -> list[Any]:
        answers: list[Any] = [None] * count
        waiting = list(asks)
        while waiting:
            read = waiting[0].read(self.output(waiting.pop(0)))
            waiting = [*read.again, *waiting]
            for place, value in read.answers:
                assert answers[place] is None, "answered twice"
                answers[place] = value
        return answers

    def fast(self, pairs: Sequence[Pair]) -> list[Any]:
        return self.answers(asks_of(pairs, LONGEST, CacheShape(self.block, VOCABULARY)), len(pairs))

    def stock(self, pairs: Sequence[Pair]) -> list[Any]:
        cut = [cut_left(*pair, LONGEST) for pair in pairs]
        return self.answers([stock_ask(*each, [place]) for place, each in enumerate(cut)], len(pairs))


def drawn(rng: random.Random, length: int) -> list[int]:
    return [rng.randrange(1, VOCABULARY) for _ in range(length)]


def invented(rng: random.Random, examples: int = 40) -> list[Pair]:
    """Continuations that begin alike, equal ones, single tokens; contexts that begin alike, and nested ones."""
    few = drawn(rng, examples)
    pairs: list[Pair] = []
    for length in (0, 1, 5, 15, 16, 17, 31, 32, 40):
        context, word = [*few, *drawn(rng, length)] if length else [7], drawn(rng, 3)
        ends: list[list[int]] = [[], drawn(rng, 1), drawn(rng, 4), drawn(rng, 25)]
        longer = [*word, *ends[3]]
        pairs += [(context, [*word, *end]) for end in ends]
        pairs += [(context, word[:1]), (context, word), (context, drawn(rng, 1)), (context, drawn(rng, 20))]
        pairs += [(context, [likeliest(context)]), (context, [likeliest(context), *word])]
        pairs += [([*context, *longer], drawn(rng, 2)), ([*context, *longer[:2]], longer[2:])]
    long = drawn(rng, LONGEST)
    pairs += [(long[:size], drawn(rng, more)) for size in (LONGEST - 3, LONGEST) for more in (1, 2, 9)]
    rng.shuffle(pairs)
    return pairs


@pytest.mark.parametrize("absent", [True, False])
@pytest.mark.parametrize("block", [1, 4, 16, None])
def test_every_answer_is_that_of_stock_scoring(block: int | None, *, absent: bool) -> None:
    for seed in range(2):
        pairs = invented(random.Random(seed))
        engine = Remembering(block, absent)
        stock = Remembering(block).stock(pairs)
        assert engine.fast(pairs) == stock
        assert engine.fast(pairs) == stock, "asked before, it reads nothing that nobody wrote"
        assert {greedy for _, greedy in stock} == {True, False}


@pytest.mark.parametrize("absent", [True, False])
def test_what_was_begun_twice_is_asked_again(*, absent: bool) -> None:
    pairs = invented(random.Random(1))
    engine = Remembering(16, absent, frozenset(range(0, 200, 3)))
    assert engine.fast(pairs) == Remembering().stock(pairs)


def test_siblings_in_other_chunks_change_no_answer() -> None:
    pairs = invented(random.Random(2))
    engine = Remembering()
    apart = [answer for place in range(0, len(pairs), 3) for answer in engine.fast(pairs[place : place + 3])]
    assert apart == Remembering().stock(pairs)


def letters(documents: int) -> list[Pair]:
    rng = random.Random(3)
    few = drawn(rng, 140)
    contexts = [[*few, *drawn(rng, 40)] for _ in range(documents)]
    return [(context, [letter]) for context in contexts for letter in (41, 42, 43, 44)]


def sentences(documents: int) -> list[Pair]:
    rng = random.Random(4)
    few = drawn(rng, 140)
    contexts = [[*few, *drawn(rng, 40)] for _ in range(documents)]
    return [(context, drawn(rng, 9)) for context in contexts for _ in range(4)]


def test_letters_take_a_request_for_each_document() -> None:
    engine = Remembering()
    pairs = letters(20)
    assert engine.fast(pairs) == Remembering().stock(pairs)
    assert len(engine.asked) == 20
    assert engine.computed < sum(len(context) for context, _ in pairs) / 12


def test_of_many_choices_as_many_are_asked_at_once_as_vllm_tells() -> None:
    engine = Remembering()
    pairs = [(drawn(random.Random(5), 30), [token]) for token in range(VOCABULARY)] * 4
    assert engine.fast(pairs) == Remembering().stock(pairs)
    assert len(engine.asked) == 1
    assert len(asks_of([([1, 2], [token]) for token in range(257)], LONGEST, CacheShape(16, 999))) == 3


def test_longer_answers_compute_the_examples_once_and_each_context_once() -> None:
    pairs = sentences(20)
    stock, engine = Remembering(), Remembering()
    assert engine.fast(pairs) == stock.stock(pairs)
    assert engine.computed < stock.computed / 6
    assert len(engine.asked) == 100, "each context, and each answer"


def test_nothing_costs_more_than_stock_scoring() -> None:
    """Single answers, short questions, without a cache: as many requests, and as many tokens."""
    rng = random.Random(6)
    short = [(drawn(rng, 8), drawn(rng, 6)) for _ in range(40)]
    few = [(context, drawn(rng, 3)) for context, _ in short[:10] for _ in range(4)]
    for pairs, block in ((short, 16), (few, 16), (sentences(5)[::4], 16), (sentences(5), None)):
        stock, engine = Remembering(block), Remembering(block)
        assert engine.fast(pairs) == stock.stock(pairs)
        assert engine.computed <= stock.computed
        assert len(engine.asked) <= len(stock.asked)
        again = Remembering(block, kept=engine.kept)
        again.fast(pairs)
        assert again.computed <= stock.computed * 1.1, "nor when it was asked before"
        assert len(again.asked) <= len(stock.asked) * 1.2


def test_what_the_cache_cannot_help_is_asked_as_stock_scoring_asks_it() -> None:
    """Else it would be asked twice when it comes again."""
    rng = random.Random(9)
    asks = asks_of([(drawn(rng, 8), drawn(rng, 30)) for _ in range(5)], LONGEST, CacheShape(16, VOCABULARY))
    assert {tuple(ask.params) for ask in asks} == {tuple(STOCK)}


def test_of_many_missing_rows_all_are_asked_for_at_once() -> None:
    rng = random.Random(10)
    few = drawn(rng, 16)
    pairs = [([*few, *drawn(rng, 4)], drawn(rng, 30)) for _ in range(5)]
    engine = Remembering()
    assert engine.fast(pairs) == engine.fast(pairs) == Remembering().stock(pairs)
    assert len(engine.asked) <= 15, "each once, and twice when it comes again"


@pytest.mark.parametrize("length", [15, 16, 17, 31, 32, 33])
def test_no_row_is_looked_for_where_others_filled_its_block(length: int) -> None:
    """A context, or what answers share, may end where a block does: who filled it has the row behind it."""
    rng = random.Random(8)
    context, shared = drawn(rng, length), drawn(rng, 16)
    for begun in ([], shared):
        pairs = [(context, [*begun, token, *drawn(rng, 9)]) for token in (1, 2, 3)]
        engine = Remembering()
        assert engine.fast(pairs) == Remembering().stock(pairs)
        assert len({tuple(ask.tokens) for ask in engine.asked}) == len(engine.asked), "nothing is asked again"


def test_requests_go_in_the_order_of_tokens() -> None:
    pairs = letters(20)
    random.Random(7).shuffle(pairs)
    asked = [list(ask.tokens) for ask in asks_of(pairs, LONGEST, CacheShape(16, VOCABULARY))]
    assert asked == sorted(asked)


@pytest.mark.parametrize("pair", [([], [5]), ([5], []), ([5, 6], [VOCABULARY]), ([VOCABULARY + 7], [5])])
def test_what_is_no_question_is_asked_as_it_is(pair: Pair) -> None:
    """VLLM says what is wrong with a prompt; of a token to tell of it says nothing, and ends."""
    [ask] = asks_of([pair], LONGEST, CacheShape(16, VOCABULARY))
    assert (list(ask.tokens), "prompt_logprobs" in ask.params) == ([*pair[0], *pair[1]], True)
