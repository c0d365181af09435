"""A chunk: a batch of requests for one engine spec, claimed and answered as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

MAX_FAILURES = 2
"""A chunk that fails this often is halved; a single request that does fails for good."""

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
    """One row of `chunks`; `payload` is packed by workers.frames, `cost` counts tokens."""

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
    HALVE = "halve"
    GIVE_UP = "give_up"


def after_failure(chunk: Chunk, *, interrupted: bool) -> tuple[Chunk, AfterFailure]:
    """Count the failure and decide: once more, in halves, or never again."""
    interruptions = chunk.interruptions + interrupted
    counts = not interrupted or interruptions >= MAX_INTERRUPTIONS
    failures = chunk.failures + counts
    counted = replace(chunk, failures=failures, interruptions=0 if counts else interruptions)
    if failures < MAX_FAILURES:
        return counted, AfterFailure.AGAIN
    return counted, AfterFailure.HALVE if len(chunk.keys) > 1 else AfterFailure.GIVE_UP
