"""Fast scoring: what the continuations of a context have in common is computed once. Pure.

Every token of a continuation is told by one request. A *node* is asked after a beginning and tells any tokens that may
follow it; a *tail* is asked with a whole pair and tells its last tokens, which vLLM computes though it has the others
in its cache. Rows of cached tokens are never read: they are memory that nobody wrote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from workers.engine_child.vllm.scoring import STOCK, cut_left, made, scored, stock_ask
from workers.engine_child.vllm.window import Ask, Read

TAIL: Mapping[str, Any] = {**STOCK, "skip_reading_prefix_cache": False}
NODE: Mapping[str, Any] = {"temperature": 0, "max_tokens": 1, "detokenize": False}
MOST_NODE = 128
"""Tokens that vLLM tells of at once (`logprob_token_ids`)."""

WORTH = 16
"""Tokens: a request more has to spare the output layer at least so many."""

EFFORT = 32
"""Tokens: what a request costs beside those that it reads."""

Tokens = tuple[int, ...]


class CacheShape(NamedTuple):
    """What the engine can remember."""

    block: int | None
    """Tokens that are kept together; None: nothing is kept."""
    vocabulary: int
    """Token ids from here on are none, which vLLM says of a prompt alone."""


def asks_of(requests: Iterable[Sequence[Sequence[int]]], max_length: int, cache: CacheShape) -> list[Ask]:
    """What is asked for a chunk's pairs: contexts in the order of tokens, so that neighbours share beginnings."""
    contexts: dict[Tokens, dict[Tokens, list[int]]] = defaultdict(lambda: defaultdict(list))
    asks: list[Ask] = []
    for place, (context, continuation) in enumerate(requests):
        tokens, start = cut_left(context, continuation, max_length)
        if 0 < start < len(tokens) and max(tokens) < cache.vocabulary:
            contexts[tuple(tokens[:start])][tuple(tokens[start:])].append(place)
        else:
            asks.append(stock_ask(tokens, start, [place]))
    before: Tokens = ()
    for beginning in sorted(contexts):
        asks += _Context(beginning, contexts[beginning], cache.block).asks(_shared(before, beginning))
        before = beginning
    return asks


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens are the same."""
    least = min(len(one), len(other))
    return next((place for place in range(least) if one[place] != other[place]), least)


class _Context:
    """The continuations of one context, as a tree of tokens; a beginning of them is named by its tokens."""

    def __init__(self, tokens: Tokens, places: Mapping[Tokens, list[int]], block: int | None) -> None:
        self._tokens = tokens
        self._places = places
        self._block = block
        self._known: dict[Tokens, tuple[float, bool]] = {}
        """Of the last token of a beginning: its log-probability, and whether none is likelier."""
        self._askers: dict[Tokens, list[Tokens]] = defaultdict(list)
        self._missing = {each: len(each) for each in places}
        for each in places:
            for length in range(1, len(each) + 1):
                self._askers[each[:length]].append(each)

    def asks(self, cached: int) -> Iterator[Ask]:
        """All that has to be asked; so many first tokens are likely in the cache."""
        if self._block is None and any(len(each) > 1 for each in self._places):
            for each, places in self._places.items():
                yield stock_ask([*self._tokens, *each], len(self._tokens), places)
            return
        ordered = sorted(self._places)
        owned = {ordered[0]: 0} | {each: _shared(before, each) for before, each in pairwise(ordered)}
        apart = {each[:start] for each, start in owned.items() if len(each) - start == 1}
        apart |= {each[:start] for each, start in owned.items() if self._ends_block(start)}
        apart |= {()} if self._spares_much(owned, cached) else set()
        follow: dict[Tokens, list[int]] = defaultdict(list)
        tails: dict[Tokens, int] = {}
        for each, start in owned.items():
            first = start + (each[:start] in apart)
            alone = len(each) - first == 1
            for place in range(start, first + alone):
                follow[each[:place]].append(each[place])
            if first + alone < len(each):
                tails[each] = first
        for each, start in owned.items():  # a tail before the nodes within it: they would fill its blocks
            yield from self._nodes(each[:start], follow.pop(each[:start], ()))
            if each not in tails:
                yield from self._nodes(each[: start + 1], follow.pop(each[: start + 1], ()))
            else:
                kept = cached if each == ordered[0] and () not in apart else len(self._tokens) + start
                yield (self._tail if kept >= (self._block or 1) else self._all_of)(each, tails[each])

    def _ends_block(self, start: int) -> bool:
        """Whether the row of the first token that is not shared belongs to a block which others fill, too."""
        return len(self._places) > 1 and (len(self._tokens) + start) % (self._block or 1) == 0

    def _spares_much(self, owned: Mapping[Tokens, int], cached: int) -> bool:
        """Whether to read the context once, before what follows it: the output layer is then spared its tokens."""
        block, length = self._block or 1, len(self._tokens)
        branches = sum(start == 0 for start in owned.values())
        return branches > 1 and length - cached // block * block - length % block > WORTH

    def _nodes(self, beginning: Tokens, tokens: Sequence[int]) -> Iterator[Ask]:
        prompt = [*self._tokens, *beginning]
        for first in range(0, len(tokens), MOST_NODE):
            some = tokens[first : first + MOST_NODE]
            yield Ask(prompt, {**NODE, "logprob_token_ids": list(some)}, self._node_read(beginning, some))

    def _node_read(self, beginning: Tokens, tokens: Sequence[int]) -> Callable[[Any], Read]:
        def read(output: Any) -> Read:
            answer = made(output)
            row = answer.logprobs[0]
            most = row[answer.token_ids[0]].logprob
            told = {(*beginning, each): (row[each].logprob, row[each].logprob >= most) for each in tokens}
            return Read(self._learn(told), _computed(output))

        return read

    def _tail(self, continuation: Tokens, first: int) -> Ask:
        """Tells the tokens of a continuation from the `first` on."""
        tokens, start = [*self._tokens, *continuation], len(self._tokens) + first

        def read(output: Any) -> Read:
            made(output)
            rows = output.prompt_logprobs
            told = max(start, (output.num_cached_tokens or 0) + 1)
            dear = (told - start) * ((self._block or 1) + EFFORT) > len(tokens)
            if dear or _preempted(output) or len(rows) < len(tokens) - told:
                return Read((), _computed(output), [self._all_of(continuation, first)])
            learnt = self._rows_of(continuation, rows, told - len(self._tokens))
            return Read(learnt, _computed(output), list(self._lacking(continuation, first, told)))

        return Ask(tokens, TAIL, read)

    def _lacking(self, continuation: Tokens, first: int, told: int) -> Iterator[Ask]:
        """What somebody asked before, so that its rows were in the cache, as the places before it still are."""
        for place in range(first, told - len(self._tokens)):
            yield from self._nodes(continuation[:place], [continuation[place]])

    def _all_of(self, continuation: Tokens, first: int) -> Ask:
        """The same tokens, asked without the cache."""
        tokens = [*self._tokens, *continuation]

        def read(output: Any) -> Read:
            made(output)
            return Read(self._rows_of(continuation, output.prompt_logprobs, first), len(tokens))

        return Ask(tokens, STOCK, read)

    def _rows_of(self, continuation: Tokens, rows: Sequence[Any], first: int) -> list[tuple[int, Any]]:
        """Learn the last rows, of the tokens from the `first` on."""
        last = rows[len(rows) - (len(continuation) - first) :]
        return self._learn(
            {
                continuation[: place + 1]: scored([continuation[place]], [row], 0)
                for place, row in enumerate(last, start=first)
            }
        )

    def _learn(self, told: Mapping[Tokens, tuple[float, bool]]) -> list[tuple[int, Any]]:
        """The responses that are whole by this; sums as `scored` has them."""
        answers: list[tuple[int, Any]] = []
        for beginning in told.keys() - self._known.keys():
            self._known[beginning] = told[beginning]
            for each in self._askers[beginning]:
                self._missing[each] -= 1
                if not self._missing[each]:
                    answers += [(place, self._response(each)) for place in self._places[each]]
        return answers

    def _response(self, continuation: Tokens) -> list[Any]:
        known = [self._known[continuation[: place + 1]] for place in range(len(continuation))]
        return [float(sum(value for value, _ in known)), all(likeliest for _, likeliest in known)]


def _preempted(output: Any) -> bool:
    """Whether it was begun anew, when what it read from the cache is told of the first time alone."""
    return bool(output.metrics.num_preemptions)


def _computed(output: Any) -> int:
    return len(output.prompt_token_ids) - (output.num_cached_tokens or 0)
