"""The requests of a job as one harness child asks them: what is answered, what waits, what is cut anew."""

from __future__ import annotations

from app.domain.chunk import Chunk
from app.domain.failure import Failure
from app.domain.ids import uuid7
from app.domain.job import Job
from app.domain.parking import Gathered
from app.services.coordination import CoordinationService
from workers.coordinator.attempt import Attempt
from workers.protocol.harness import ChunkCut, Found, Prepared

CHUNKS_AT_ONCE = 64
"""How many chunks are stored together: those of a job of any size take little memory here."""


class Requests:
    """Stores chunks in portions. No engine gets one of the first ones before all are stored: the job prepares still.

    Where that is cut short, the next harness child finds what is stored to be pending, and cuts the rest.
    """

    def __init__(self, coordination: CoordinationService, attempt: Attempt) -> None:
        self._coordination = coordination
        self._lease = attempt.lease
        self._was_parked = attempt.was_parked
        self._pending: set[bytes] | None = None
        self._reused = 0
        self._cut: list[Chunk] = []
        self._stored = 0
        self._left = 0.0
        self.failed: dict[bytes, Failure] = {}
        """What no engine could answer, as was known before."""
        self._found: set[bytes] = set()
        self.fingerprint = b""
        self.all_cut = False
        """Whether every request is answered or in a stored chunk."""

    @property
    def waits(self) -> bool:
        """Whether all are cut, and some were left for engines to answer."""
        return self.all_cut and self._left > 0.0

    def prepared(self, message: Prepared) -> Job:
        """All requests are built, for the engine that the job has from now on."""
        self.fingerprint = message.fingerprint
        return self._coordination.prepared(
            self._lease,
            self.fingerprint,
            message.totals,
            message.provenance,
            again=self._was_parked,
        )

    @property
    def unanswered(self) -> dict[bytes, Failure]:
        """Of what failed before, all that nobody has answered since: it is not asked again."""
        return {key: failure for key, failure in self.failed.items() if key not in self._found}

    def take_stock(self) -> Gathered | None:
        """Before the first look: what was answered while no harness asked, now that its answers are looked up."""
        if self._pending is not None:
            return None
        answered = self._coordination.parking.count_answered(self._lease)
        self._pending = self._coordination.pending_keys(self._lease.id)
        self.failed = self._coordination.parking.failures(self._lease.id)
        return answered

    def look_up(self, keys: tuple[bytes, ...]) -> Found:
        """What is known of these requests; those that failed before are told when all are cut."""
        found = self._coordination.lookup(self.fingerprint, keys)
        self._reused += len(found)
        self._found |= self.failed.keys() & {key for key, _, _ in found}
        known = (self._pending or set()) | self.failed.keys()
        return Found(tuple(found), tuple(key for key in keys if key in known))

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
        self._left = self._coordination.pending_cost(self._lease.id)
        return self._left
