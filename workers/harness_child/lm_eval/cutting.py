"""Order requests and cut them into chunks, so that the batches inside a chunk are those of the whole list.

lm-eval's HFLM sorts all its requests, groups what one forward pass can answer, and runs `batch_size` rows
at a time. Floating point makes a row's answer depend slightly on its batch. A chunk is therefore a run of
whole batches of that global order: HFLM given the chunk alone forms the same batches and gives the same bits.

Everything here works on positions in the caller's list.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

CHUNK_COST = 32_768
"""Tokens a chunk aims at: one to three seconds of prefill for a 7B model on one GPU. Longer chunks delay
cancelling, pausing and the last replica; shorter ones gain nothing and cost a transaction each."""

SPREAD = 32
"""A short list is cut into about this many chunks, so that replicas share it evenly."""

LEAST_COST = 2_048
"""Below this a chunk is too small to fill a batch of short prompts."""

STREAMED = 256
"""Requests of a chunk at most, for engines that answer each by itself: half of what vLLM has in hand by default. What
an engine dies with is answered again by whole chunks, so they are no larger than what it was at anyway."""

Tokens: TypeAlias = "array[int]"


class Pair(NamedTuple):
    """A context and the continuation to score after it."""

    context: Tokens
    continuation: Tokens


@dataclass(frozen=True)
class Prompt:
    """A text to continue; `cost` is its tokens and those it may generate."""

    text: str
    length: int
    settings: Mapping[str, Any]
    cost: float
    tokens: Sequence[int] | None = None
    """What is sent in its place, where the engine is given tokens."""


@dataclass(frozen=True)
class Row:
    """What takes one place in a batch: one or more positions, and the tokens it costs."""

    positions: Sequence[int]
    cost: float


@dataclass(frozen=True)
class Cut:
    """The positions of one chunk, in the order an engine gets them."""

    positions: Sequence[int]
    cost: float


def cut_loglikelihoods(pairs: Sequence[Pair], batch_size: int, *, grouped: bool) -> list[Cut]:
    """Longest first; when `grouped`, pairs with equal context + continuation[:-1] are one row."""
    rows = _grouped_rows(pairs) if grouped else _single_rows(pairs)
    return _cut(rows, batch_size)


def cut_contexts(pairs: Sequence[Pair]) -> list[Cut]:
    """For engines that answer each by itself: longest first, those of one context together and in one chunk."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, pair in enumerate(pairs):
        groups[pair.context.tobytes()].append(position)
    ordered = sorted(groups.values(), key=lambda group: min(_longest_first(pairs[place]) for place in group))
    return _cut([Row(group, sum(_length(pairs[place]) for place in group)) for group in ordered], 1, STREAMED)


def cut_by_tokens(pairs: Sequence[Pair], most: int | None) -> list[Cut]:
    """For engines that compute once what requests share: in the order of tokens, never between those of one context.

    Tokens cost once that a context shares with the one before it, since the engine still has them.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, pair in enumerate(pairs):
        groups[pair.context.tobytes()].append(position)
    rows: list[Row] = []
    before: Tokens = array("i")
    for group in sorted(groups.values(), key=lambda group: pairs[group[0]].context):
        group.sort(key=lambda position: pairs[position].continuation)
        context = pairs[group[0]].context
        own = len(context) - _shared(before, context)
        rows.append(Row(group, own + sum(len(pairs[position].continuation) for position in group)))
        before = context
    return _cut(rows, 1, most)


def _shared(one: Tokens, other: Tokens) -> int:
    """How many first tokens are the same."""
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_left(lengths, True, key=lambda length: one[:length] != other[:length])


def cut_windows(windows: Sequence[Pair], batch_size: int, most: int | None = None) -> list[Cut]:
    """In the given order, as HFLM runs the windows of rolling log-likelihoods."""
    rows = [Row([position], len(w.context) + len(w.continuation)) for position, w in enumerate(windows)]
    return _cut(rows, batch_size, most)


def cut_prompts(prompts: Sequence[Prompt], batch_size: int, most: int | None = None) -> list[Cut]:
    """Settings apart, each longest first; a chunk has one setting."""
    by_settings: dict[Hashable, list[int]] = defaultdict(list)
    for position, prompt in enumerate(prompts):
        by_settings[_comparable(prompt.settings)].append(position)
    cuts: list[Cut] = []
    for positions in by_settings.values():
        positions.sort(key=lambda position: (-prompts[position].length, prompts[position].text))
        cuts += _cut([Row([position], prompts[position].cost) for position in positions], batch_size, most)
    return cuts


def cut_missing(count: int, settled: Collection[int], cut: Callable[[Sequence[int]], list[Cut]]) -> list[Cut]:
    """Cut what is not settled (answered, or waiting in a stored chunk) out of `count` positions.

    The whole list is cut first and settled chunks are dropped: an interrupted job that is planned anew gets
    the very chunks it had left. Chunks settled in part are no whole batches any more, so nothing is lost by
    cutting what is left of them together, into full chunks.
    """
    if len(settled) == count:
        return []
    untouched, remains = [], []
    for chunk in cut(range(count)):
        missing = [position for position in chunk.positions if position not in settled]
        if len(missing) == len(chunk.positions):
            untouched.append(chunk)
        else:
            remains += missing
    remains.sort()
    again = [Cut([remains[place] for place in chunk.positions], chunk.cost) for chunk in cut(remains)]
    return untouched + again


def _grouped_rows(pairs: Sequence[Pair]) -> list[Row]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, pair in enumerate(pairs):
        groups[(pair.context + pair.continuation[:-1]).tobytes()].append(position)
    # The engine computes the member with the longest continuation and reads the others from it.
    computed = [
        (max(group, key=lambda position: len(pairs[position].continuation)), group)
        for group in groups.values()
    ]
    computed.sort(key=lambda item: _longest_first(pairs[item[0]]))
    return [Row(group, _length(pairs[position])) for position, group in computed]


def _single_rows(pairs: Sequence[Pair]) -> list[Row]:
    order = sorted(range(len(pairs)), key=lambda position: _longest_first(pairs[position]))
    return [Row([position], _length(pairs[position])) for position in order]


def _longest_first(pair: Pair) -> tuple[int, Tokens]:
    return -_length(pair), pair.context + pair.continuation


def _length(pair: Pair) -> int:
    return len(pair.context) + len(pair.continuation)


def _cut(rows: Sequence[Row], batch_size: int, most: int | None = None) -> list[Cut]:
    """Runs of whole batches, each ended by the batch that reaches the aim, or so many requests."""
    aim = min(CHUNK_COST, max(LEAST_COST, sum(row.cost for row in rows) / SPREAD))
    cuts: list[Cut] = []
    positions: list[int] = []
    cost = 0.0
    for start in range(0, len(rows), batch_size):
        for row in rows[start : start + batch_size]:
            positions += row.positions
            cost += row.cost
        if cost >= aim or (most is not None and len(positions) >= most):
            cuts.append(Cut(positions, cost))
            positions, cost = [], 0.0
    return [*cuts, Cut(positions, cost)] if positions else cuts


def _comparable(settings: Mapping[str, Any]) -> Hashable:
    """Equal for settings that lm-eval runs together: by value, lists as tuples, whatever the order."""
    return tuple((name, _hashable(value)) for name, value in sorted(settings.items()))


def _hashable(value: object) -> Hashable:
    if isinstance(value, Mapping):
        return _comparable(value)
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(item) for item in value)
    return value
