"""A replica as spans: a trace of its own for its life, and in the trace of each job one for each stay of it here."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

from app.domain.chunk import Chunk
from app.domain.replica import Replica
from app.domain.trace import TraceParent
from app.traces import Attributes, Beginning, Traces, TraceSpan

STAY_SECONDS = 5.0
"""A job that has nothing in hand for so long is gone: a span for each chunk would be thousands."""


@dataclass
class Stay:
    """A job of which chunks are in hand, or were just now."""

    span: TraceSpan
    chunks: int = 0
    requests: int = 0
    left_at: float | None = None
    """When the last chunk went; None while one is in hand."""


class ReplicaSpans:
    """Where the spans of one replica begin and end."""

    def __init__(self, traces: Traces, replica: Replica, clock: Callable[[], float] = time.time) -> None:
        """`clock` is seconds since the epoch."""
        self._traces = traces
        self._clock = clock
        self._named = {"evalq.replica.id": str(replica.id)}
        told: Attributes = {
            "evalq.backend": replica.engine.backend,
            "evalq.model": replica.engine.model,
            "evalq.group": replica.group,
            "evalq.devices": len(replica.devices),
        }
        self._life = traces.begin(Beginning("replica", attributes={**told, **self._named}))
        self._part = traces.begin(Beginning("load", self._life.trace))
        self._in_hand: dict[UUID, UUID] = {}
        self._stays: dict[UUID, Stay] = {}

    def loaded(self) -> None:
        """It serves from now on."""
        self._part.end()
        self._part = self._traces.begin(Beginning("serve", self._life.trace))

    def claimed(self, chunk: Chunk, trace: TraceParent | None) -> None:
        """A chunk is in hand; `trace` is its job's."""
        if (stay := self._stays.get(chunk.job_id)) is None:
            told = self._named | {"evalq.job.id": str(chunk.job_id)}
            begun = Beginning("answer on a replica", trace, told, links=[self._life.trace])
            stay = self._stays[chunk.job_id] = Stay(self._traces.begin(begun))
        stay.left_at = None
        self._in_hand[chunk.id] = chunk.job_id

    def answered(self, chunk: Chunk) -> None:
        """A chunk is in hand no more, and its answers are stored."""
        if stay := self._stays.get(chunk.job_id):
            stay.chunks += 1
            stay.requests += len(chunk.keys)
        self.left(chunk.id)

    def left(self, chunk_id: UUID) -> None:
        """A chunk is in hand no more; nothing where it was not."""
        job_id = self._in_hand.pop(chunk_id, None)
        if job_id is not None and job_id not in self._in_hand.values():
            self._stays[job_id].left_at = self._clock()

    def keep(self, wanted: Collection[UUID]) -> None:
        """All other chunks are in hand no more."""
        for chunk_id in self._in_hand.keys() - set(wanted):
            self.left(chunk_id)

    def look(self) -> None:
        """End the stays of jobs that are gone."""
        gone = self._clock() - STAY_SECONDS
        for job_id, stay in list(self._stays.items()):
            if stay.left_at is not None and stay.left_at <= gone:
                self._end_stay(self._stays.pop(job_id))

    def end(self, failure: str | None = None) -> None:
        """The replica is no more, by a failure of this kind where there was one."""
        for stay in self._stays.values():
            self._end_stay(stay, failure if stay.left_at is None else None)
        self._stays, self._in_hand = {}, {}
        self._part.end(failure=failure)
        self._life.end(failure=failure)

    @staticmethod
    def _end_stay(stay: Stay, failure: str | None = None) -> None:
        stay.span.note({"evalq.chunks": stay.chunks, "evalq.requests": stay.requests})
        stay.span.end(stay.left_at, failure)
