"""Headway: how far engines are inside chunks that they have not answered yet, and what a job shows as done for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from app.domain.chunk import Chunk


@dataclass(frozen=True)
class Headway:
    """What is done of one chunk in an engine's hands, or of several."""

    requests: int = 0
    """Answered, though their answers are not stored yet."""
    cost: float = 0.0
    """Tokens done, of those that the chunk's cost counts."""

    def __add__(self, other: Headway) -> Headway:
        return Headway(self.requests + other.requests, self.cost + other.cost)

    def further(self, chunk: Chunk, answered: int, tokens: float) -> Headway:
        """The engine has answered so many requests of the chunk, and generated `tokens` since this was true.

        Never less than before, though a batch that is tried again is counted anew; never more than the chunk has.
        """
        requests = min(max(self.requests, answered), len(chunk.keys))
        share = chunk.cost * requests / len(chunk.keys)
        return Headway(requests, min(max(self.cost + tokens, share), chunk.cost))


@dataclass(frozen=True)
class Level:
    """How many requests a job shows as done: more with every look, and less only where an engine died."""

    done: int = 0
    counted_on: frozenset[UUID] = frozenset()
    """Replicas whose headway is in it: what they have not stored is lost with them."""

    def at(self, known: int, ahead: Collection[UUID], dead: Collection[UUID]) -> Level:
        """The level after a look: so many requests are `known` to be done, some of them by replicas that are `ahead`
        of what they stored; others that it counted on are `dead`.

        Where less is known though nobody died it stands until that has caught up: a chunk that failed and is asked
        again, or the harness, which is read an instant after the chunks.
        """
        if known < self.done and self.counted_on.isdisjoint(dead):
            return self
        return Level(known, frozenset(ahead))
