"""How much work a replica has in hand, and how long that lasts. Pure."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from uuid import UUID

from app.domain.chunk import Chunk
from app.services.serving import Claimed

AHEAD_SECONDS = 0.5
"""The next claim comes this long before the engine would idle."""


@dataclass
class Speed:
    """Tokens a second, as measured; recent chunks count more."""

    value: float | None = None

    def learn(self, cost: float, seconds: float) -> None:
        """Add a chunk to the average."""
        now = cost / max(seconds, 1e-3)
        self.value = now if self.value is None else 0.7 * self.value + 0.3 * now

    def seconds(self, cost: float) -> float | None:
        """How long this much work takes; None while nothing was measured."""
        return cost / self.value if self.value else None


@dataclass
class Hand:
    """Chunks that were sent to the engine and not answered, in order."""

    claimed: deque[Claimed] = field(default_factory=deque)
    head_since: float = field(default_factory=time.monotonic)

    @property
    def first_job(self) -> UUID | None:
        """Whose chunk the engine works on."""
        return self.claimed[0].chunk.job_id if self.claimed else None

    @property
    def chunks(self) -> list[Chunk]:
        """In the order they were sent."""
        return [item.chunk for item in self.claimed]

    @property
    def jobs(self) -> frozenset[UUID]:
        """Whose chunks they are."""
        return frozenset(item.chunk.job_id for item in self.claimed)

    @property
    def cost(self) -> float:
        """Tokens in hand."""
        return sum(item.chunk.cost for item in self.claimed)

    def seconds_left(self, speed: Speed, now: float) -> float:
        """Until the engine idles, as far as can be told; without a measurement it is busy while it has a chunk.

        However late the chunk is that it works on, the others are still ahead of it: an engine that is frozen is given
        no more of them.
        """
        if not self.claimed:
            return 0.0
        head = speed.seconds(self.claimed[0].chunk.cost)
        if head is None:
            return AHEAD_SECONDS * 2
        return (speed.seconds(self.cost) or 0.0) - min(head, now - self.head_since)
