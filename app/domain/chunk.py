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
"""An engine that vanishes under a chunk this often counts as a failure of the chunk."""


class ChunkStatus(StrEnum):
    """Where a chunk stands."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    FAILED = "failed"
    SPLIT = "split"
    CANCELLED = "cancelled"


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

    @property
    def outlived_too_many(self) -> bool:
        """Whether workers were lost over it so often that it is not to be tried as it is."""
        return self.interruptions >= MAX_INTERRUPTIONS


class AfterFailure(StrEnum):
    """What becomes of a chunk that was not answered."""

    AGAIN = "again"
    PROBE = "probe"
    """Some requests alone, and the rest."""
    HALVE = "halve"
    GIVE_UP = "give_up"


def after_failure(chunk: Chunk, *, interrupted: bool) -> tuple[Chunk, AfterFailure]:
    """Count the failure and decide: once more, in parts, or never again. A part has the count of its chunk."""
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
