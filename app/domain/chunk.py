"""A chunk: a batch of requests for one engine spec, claimed and answered as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

MAX_FAILURES = 2
"""A chunk that fails this often is halved; a single request that does fails for good."""

ALONE = 5
"""Requests of a chunk that are tried alone when it is first divided. Where each fails as the others do and no request
of its kind is answered, the fault is not in a request but in what they share."""

MAX_INTERRUPTIONS = 5
"""Engines that were killed from outside, or workers that were lost, while they had nothing but this chunk in hand: so
many count as a failure of the chunk."""


class ChunkStatus(StrEnum):
    """Where a chunk stands."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    FAILED = "failed"
    SPLIT = "split"
    CANCELLED = "cancelled"


PENDING = frozenset({ChunkStatus.WAITING, ChunkStatus.CLAIMED})
"""Still to be answered."""


@dataclass(frozen=True)
class Chunk:
    """One row of `chunks`; `payload` is packed by workers.protocol.payload, `cost` counts tokens."""

    id: UUID
    job_id: UUID
    position: int
    kind: str
    batch_size: int | str
    gen_kwargs: Mapping[str, Any] | None
    seed: int | None
    cost: float
    keys: tuple[bytes, ...]
    payload: bytes
    status: ChunkStatus = ChunkStatus.WAITING
    failures: int = 0
    interruptions: int = 0
    suspect: bool = False
    """An engine died with this chunk in its hands and others: it is next sent alone."""

    @property
    def outlived_too_many(self) -> bool:
        """Whether workers were lost over it so often that it is not to be tried as it is."""
        return self.interruptions >= MAX_INTERRUPTIONS


@dataclass(frozen=True)
class Room:
    """What a replica can take on beside what it has in hand."""

    cost: float
    """Tokens."""
    chunks: int
    requests: int | None = None
    """What is missing in the window of an engine that streams; None where it answers one chunk at a time."""
    held_cost: float = 0.0
    """Tokens in hand."""
    empty: bool = True
    """Nothing is in hand: only then a suspect may be given, and nothing beside it."""
    starved: bool = True
    """The first chunk is given whatever it costs."""

    @property
    def most(self) -> int:
        """Chunks that can fit: each has a request."""
        return max(self.chunks if self.requests is None else min(self.chunks, self.requests), 0)

    @property
    def full(self) -> bool:
        """Whether nothing fits, whatever it costs."""
        return self.most == 0 or (not self.starved and self.cost < 0)

    def holds(self, cost: float) -> bool:
        """Whether a chunk of so many tokens fits."""
        return not self.full and (self.starved or cost <= self.cost)

    def without(self, cost: float, requests: int) -> Room:
        """What is left beside a chunk."""
        left = None if self.requests is None else self.requests - requests
        return replace(
            self, cost=self.cost - cost, chunks=self.chunks - 1, requests=left, empty=False, starved=False
        )

    def bounded(self, open_cost: float, replicas: int) -> Room:
        """No more in hand than a fair share of what is left to so many replicas, so that all of them end together."""
        return replace(self, cost=min(self.cost, open_cost / max(replicas, 1) - self.held_cost))


class AfterFailure(StrEnum):
    """What becomes of a chunk that was not answered."""

    AGAIN = "again"
    PROBE = "probe"
    """Some requests alone, and the rest."""
    HALVE = "halve"
    GIVE_UP = "give_up"


def after_death(chunk: Chunk, *, killed: bool) -> tuple[Chunk, AfterFailure]:
    """The engine ended, or stood still, with nothing in its hands but this chunk.

    Of a suspect it is the second time: it is divided at once. Where the engine was `killed` from outside, its end
    says little of what it was asked and counts as an interruption.
    """
    if killed:
        return after_failure(chunk, interrupted=True)
    before = max(chunk.failures, MAX_FAILURES - 1) if chunk.suspect else chunk.failures
    return after_failure(replace(chunk, failures=before, suspect=True), interrupted=False)


def after_failure(chunk: Chunk, *, interrupted: bool) -> tuple[Chunk, AfterFailure]:
    """Count the failure and decide: once more, in parts, or never again.

    A part has the counts of its chunk, and is a suspect where that is one.
    """
    interruptions = chunk.interruptions + interrupted
    counts = not interrupted or interruptions >= MAX_INTERRUPTIONS
    failures = chunk.failures + counts
    counted = replace(chunk, failures=failures, interruptions=0 if counts else interruptions)
    if failures < MAX_FAILURES or not counts:
        return counted, AfterFailure.AGAIN
    if len(chunk.keys) == 1:
        return counted, AfterFailure.GIVE_UP
    return counted, AfterFailure.PROBE if failures == MAX_FAILURES else AfterFailure.HALVE


def parts(count: int, fate: AfterFailure) -> list[list[int]]:
    """How so many requests are divided: the places of each part."""
    places = list(range(count))
    if fate is not AfterFailure.PROBE:
        return [places[: count // 2], places[count // 2 :]]
    last = min(ALONE, count) - 1
    alone = [place * (count - 1) // max(last, 1) for place in range(last + 1)]
    rest = [place for place in places if place not in alone]
    return [[place] for place in alone] + ([rest] if rest else [])
