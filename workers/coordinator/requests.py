"""The requests of a job as one harness child asks them: what is answered, what waits, what is cut anew."""

from __future__ import annotations

from app.domain.chunk import Chunk
from app.domain.ids import uuid7
from app.domain.job import Job
from app.domain.lease import Lease
from app.services.coordination import CoordinationService
from workers.protocol.harness import ChunkCut, Found, Prepared

CHUNKS_AT_ONCE = 64
"""How many chunks are stored together: those of a job of any size take little memory here."""


class Requests:
    """Stores chunks in portions. No engine gets one of the first ones before all are stored: the job prepares still.

    Where that is cut short, the next harness child finds what is stored to be pending, and cuts the rest.
    """

    def __init__(self, coordination: CoordinationService, lease: Lease) -> None:
        self._coordination = coordination
        self._lease = lease
        self._pending: set[bytes] | None = None
        self._reused = 0
        self._cut: list[Chunk] = []
        self._stored = 0
        self.fingerprint = b""
        self.all_cut = False
        """Whether every request is answered or in a stored chunk."""

    def prepared(self, message: Prepared) -> Job:
        """All requests are built, for the engine that the job has from now on."""
        self.fingerprint = message.fingerprint
        return self._coordination.prepared(
            self._lease, self.fingerprint, message.totals, message.provenance, message.engine_args
        )

    def look_up(self, keys: tuple[bytes, ...]) -> Found:
        """What is known of these requests."""
        if self._pending is None:
            self._pending = self._coordination.pending_keys(self._lease.id)
        found = self._coordination.lookup(self.fingerprint, keys)
        self._reused += len(found)
        return Found(tuple(found), tuple(key for key in keys if key in self._pending))

    def add(self, chunk: ChunkCut) -> None:
        """Take in a chunk, and store it with others."""
        self._cut.append(self._placed(chunk))
        if len(self._cut) == CHUNKS_AT_ONCE:
            self._coordination.store_chunks(self._lease, self._cut)
            self._stored += len(self._cut)
            self._cut = []

    def _placed(self, chunk: ChunkCut) -> Chunk:
        return Chunk(
            id=uuid7(),
            job_id=self._lease.id,
            position=self._stored + len(self._cut),
            kind=chunk.kind,
            batch_size=chunk.batch_size,
            gen_kwargs=chunk.gen_kwargs,
            seed=chunk.seed,
            cost=chunk.cost,
            keys=chunk.keys,
            payload=chunk.payload,
        )

    def store_rest(self, told: str | None = None) -> float:
        """All are cut; the tokens that engines are to answer. `told`: what the plan says of it from now on."""
        self._coordination.store_plan(self._lease, self._cut, self._reused, told)
        self._cut, self.all_cut = [], True
        return self._coordination.pending_cost(self._lease.id)
