"""Texts of tokens that begin alike as trees, in which every token stands once. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

ATTENTION = 2
"""Tokens of attention, times the model's width, that take as long as its other work for one: 6 by counting
operations, of which those of attention are slower."""


class ScoredText(NamedTuple):
    """A request: its tokens, of which those from `start` on are scored."""

    place: int
    tokens: list[int]
    start: int


@dataclass
class Tree:
    """Tokens in the order in which they were added: what follows a token stands behind it, up to its end.

    The last token of a request is scored and not read, so that it stands in no tree.
    """

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    """How many tokens of its text stand before each: its position."""
    ends: list[int] = field(default_factory=list)
    """Where for each begins what does not follow it any more."""
    scored: list[tuple[int, list[int], list[int]]] = field(default_factory=list)
    """For each request its place, the tokens that are scored, and where the one before each of them stands."""
    _path: list[int] = field(default_factory=list)

    def shared(self, tokens: list[int]) -> int:
        """How many first tokens the request before has, too."""
        most = min(len(self._path), len(tokens) - 1)
        return next((at for at in range(most) if self.tokens[self._path[at]] != tokens[at]), most)

    def add(self, request: ScoredText) -> None:
        """Let it grow; requests come in the order of their tokens, so that each is read once."""
        kept, read = self.shared(request.tokens), len(request.tokens) - 1
        first = len(self.tokens)
        self._end(kept)
        self._path = [*self._path[:kept], *range(first, first + read - kept)]
        self.tokens += request.tokens[kept:read]
        self.depths += range(kept, read)
        self.ends += [0] * (read - kept)
        before = self._path[request.start - 1 : read]
        self.scored.append((request.place, request.tokens[request.start :], before))

    def closed(self) -> Tree:
        """Itself, whole."""
        self._end(0)
        return self

    def _end(self, kept: int) -> None:
        for token in self._path[kept:]:
            self.ends[token] = len(self.tokens)


def trees(requests: Iterable[ScoredText], width: int, most: int) -> list[Tree]:
    """Trees of at most so many tokens, or of one request alone, for a model of this width; the longest first."""
    grown = [Tree()]
    for request in sorted(requests, key=lambda request: request.tokens):
        shared = grown[-1].shared(request.tokens)
        size = len(grown[-1].tokens) + len(request.tokens) - 1 - shared
        if grown[-1].scored and size > min(most, _worth(shared, width)):
            grown.append(Tree())
        grown[-1].add(request)
    return sorted((tree.closed() for tree in grown), key=lambda tree: -len(tree.tokens))


def _worth(shared: int, width: int) -> float:
    """Up to how many tokens a tree pays that is grown on a beginning of so many.

    A tree of n tokens takes n + n * n / k, where attention to k tokens takes as long as the layers' other work for
    one. The minimum of that per token that is not of the beginning.
    """
    return shared + math.sqrt(shared * (shared + ATTENTION * width))


def batches(rows: Iterable[Tree], most: int) -> Iterator[list[Tree]]:
    """Rows that have together, each as long as the first, at most so many tokens; a longer one goes alone."""
    batch: list[Tree] = []
    for row in rows:
        if batch and len(batch[0].tokens) * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
