"""What a replica has in hand, and how much more it can take on. Pure."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from app.domain.chunk import Chunk, Room
from app.services.serving import Claimed

AHEAD_SECONDS = 0.5
"""An engine that answers one chunk at a time is given the next ones this long before it would idle."""

CLAIM_SECONDS = 2.0
"""What it is given at once, by its measured speed: little, so that replicas end together."""

CLAIM_MOST = 64
"""Chunks that are claimed at once."""


@dataclass
class Speed:
    """Tokens a second while there is work, as measured; the latest count more."""

    _tokens: float = 0.0
    _seconds: float = 0.0

    def learn(self, tokens: float, seconds: float) -> None:
        """So many more were done in so many seconds; several may be told of at once, after none for a while."""
        self._tokens = 0.7 * self._tokens + tokens
        self._seconds = 0.7 * self._seconds + max(seconds, 1e-3)

    @property
    def value(self) -> float | None:
        """None while nothing was measured."""
        return self._tokens / self._seconds if self._seconds else None

    def seconds(self, tokens: float) -> float | None:
        """How long so much work takes."""
        return tokens / self.value if self.value else None


@dataclass(frozen=True)
class Settled:
    """A chunk that left the engine's hands, and what it cost."""

    claimed: Claimed
    seconds: float
    """Of the engine's time; of one that streams, since the last chunk before it."""
    writers: frozenset[UUID]
    """Jobs for which the engine may have written to its log since then."""


class Backlog:
    """Chunks that were sent to an engine and not settled, by id and in the order of their sending.

    `look_again_seconds`: so long a claim that found nothing is not tried again, unless a chunk is settled.
    """

    def __init__(self, look_again_seconds: float = 0.0) -> None:
        self.window = 0
        """Requests that the engine wants in hand; 0: one chunk at a time, in order."""
        self.speed = Speed()
        self._look_again_seconds = look_again_seconds
        self._look_again_at = -math.inf
        self._sent: dict[UUID, tuple[int, Claimed]] = {}
        self._count = 0
        self._since = 0.0
        """When the engine was given work, or settled its last chunk."""
        self._leaving: list[tuple[int, UUID]] = []
        """Jobs of dropped chunks that the engine may still be at, each with the count of chunks sent by then."""

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def ids(self) -> list[UUID]:
        """The chunks in hand."""
        return list(self._sent)

    @property
    def chunks(self) -> list[Chunk]:
        """Those in hand, as they were sent."""
        return [claimed.chunk for _, claimed in self._sent.values()]

    @property
    def jobs(self) -> frozenset[UUID]:
        """Whose chunks they are, and whose were dropped and may still be worked on."""
        return frozenset(chain((chunk.job_id for chunk in self.chunks), (job for _, job in self._leaving)))

    @property
    def cost(self) -> float:
        """Tokens in hand."""
        return sum(chunk.cost for chunk in self.chunks)

    @property
    def in_work(self) -> tuple[Chunk, ...]:
        """What the engine may be at: one chunk where it answers one at a time."""
        return tuple(self.chunks if self.window else self.chunks[:1])

    @property
    def writers(self) -> frozenset[UUID]:
        """Jobs that what the engine does next is done for."""
        return frozenset(chain((chunk.job_id for chunk in self.in_work), (job for _, job in self._leaving)))

    @property
    def alone(self) -> Chunk | None:
        """The one chunk that can be at fault for what the engine does, if it is only one."""
        return self.in_work[0] if len(self.in_work) == 1 and not self._leaving else None

    def room(self, now: float) -> Room | None:
        """What to claim now, if anything; nothing beside a suspect."""
        if now < self._look_again_at or any(chunk.suspect for chunk in self.chunks):
            return None
        return self._room_in_window() if self.window else self._room_ahead(now)

    def _room_in_window(self) -> Room | None:
        missing = self.window - sum(len(chunk.keys) for chunk in self.chunks)
        empty = not self._sent
        return Room(math.inf, CLAIM_MOST, missing, self.cost, empty, starved=empty) if missing > 0 else None

    def _room_ahead(self, now: float) -> Room | None:
        if self.seconds_left(now) > AHEAD_SECONDS:
            return None
        return Room(CLAIM_SECONDS * (self.speed.value or 0.0), CLAIM_MOST, empty=not self._sent)

    def seconds_left(self, now: float) -> float:
        """Until the engine idles, as far as can be told; without a measurement it is busy while it has a chunk.

        However late the chunk is that it works on, the others are still ahead of it: an engine that is frozen is given
        no more of them.
        """
        if not self._sent:
            return 0.0
        head = self.speed.seconds(next(iter(self._sent.values()))[1].chunk.cost)
        if head is None:
            return AHEAD_SECONDS * 2
        return (self.speed.seconds(self.cost) or 0.0) - min(head, now - self._since)

    def found_nothing(self, now: float) -> None:
        """A claim brought nothing."""
        self._look_again_at = now + self._look_again_seconds

    def add(self, claimed: Claimed, now: float) -> None:
        """A chunk is sent."""
        if not self._sent:
            self._since = now
        self._count += 1
        self._sent[claimed.chunk.id] = self._count, claimed

    def settle(self, chunk_id: UUID, now: float, said: float | None = None) -> Settled | None:
        """A chunk is answered or has failed; None for one that is not in hand: settled before, or dropped.

        `said`: the seconds that it took of one who does nothing else meanwhile; with them the speed is learnt.
        """
        if chunk_id not in self._sent:
            return None
        writers = self.writers
        number, claimed = self._sent.pop(chunk_id)
        self._leaving = [(sent, job) for sent, job in self._leaving if sent >= number]
        seconds = now - self._since if self.window or said is None else said
        self._since, self._look_again_at = now, -math.inf
        if said is not None:
            self.speed.learn(claimed.chunk.cost, seconds)
        return Settled(claimed, seconds, writers | {claimed.chunk.job_id})

    def keep(self, wanted: Set[UUID]) -> tuple[UUID, ...]:
        """Let go of all other chunks; which these were."""
        gone = tuple(chunk_id for chunk_id in self._sent if chunk_id not in wanted)
        for chunk_id in gone:
            _, claimed = self._sent.pop(chunk_id)
            self._leaving.append((self._count, claimed.chunk.job_id))
            self._look_again_at = -math.inf
        return gone
