"""A replica in this worker's hands: what is asked and written of it, through outages, as long as its lease lasts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar
from uuid import UUID

from app.asking import working_on
from app.backends.measured_engines import name_of_engine
from app.db.outages import patiently
from app.domain.chunk import AfterFailure, Chunk, Room
from app.domain.failure import Failure
from app.domain.headway import Headway
from app.domain.lease import Lease, Order
from app.domain.measures import LoadMeasure
from app.domain.replica import Replica
from app.domain.trace import TraceParent
from app.errors import ChunkLostError, DatabaseError, DatabaseUnreachableError, LeaseLostError
from app.services.serving import Answer, Claimed, ServingService, Work
from app.traces import NoTraces
from workers.gpu_worker.chunk_messages import divided
from workers.gpu_worker.replica_spans import ReplicaSpans
from workers.protocol.engine import SCORED_AS_STOCK
from workers.supervision import child_lines

T = TypeVar("T")

log = logging.getLogger(__name__)


class Tenure(Protocol):
    """The heartbeat of a lease, as far as it is listened to."""

    reply: Order | None
    """What the scheduler wanted at the last beat."""

    @property
    def lost(self) -> bool:
        """Whether the lease was given up: then nothing more may be written."""


class Held:
    """Everything here raises LeaseLostError where the lease is lost, and waits for a database that is away."""

    def __init__(
        self,
        replica: Replica,
        lease: Lease,
        serving: ServingService,
        tenure: Tenure,
        spans: ReplicaSpans | None = None,
        *,
        on_loaded: Callable[[], object] = lambda: None,
    ) -> None:
        self.replica = replica
        self._lease = lease
        self._serving = serving
        self._tenure = tenure
        self._spans = spans or ReplicaSpans(NoTraces(), replica)
        self._on_loaded = on_loaded
        self._jobs: dict[UUID, TraceParent | None] = {}
        """Those that it has worked for, each with its trace."""
        self._why_stock: str | None = None
        """Why the engine does not score fast, as it was asked to."""

    @property
    def lost(self) -> bool:
        """Whether the lease was given up."""
        return self._tenure.lost

    @property
    def wanted_back(self) -> bool:
        """Whether the scheduler asked for the devices, as far as the heartbeat has heard."""
        return self._tenure.reply is Order.RELEASE

    def loaded(self, provenance: Mapping[str, Any], measured: LoadMeasure) -> None:
        """The engine is up, and measured this of itself."""
        self._on_loaded()
        self._why_stock = provenance.get(SCORED_AS_STOCK)
        name = name_of_engine(self.replica.engine) if measured.known else None
        self._ask(lambda: self._serving.loaded(self._lease, provenance, measured, name))
        self._spans.loaded()

    def claim(self, room: Room, in_hand: Sequence[UUID]) -> Work:
        """More chunks; after an outage none yet, since some may have been claimed whose names were lost."""
        try:
            work = self._serving.next(self._lease, self.replica.engine.key, room)
        except DatabaseUnreachableError:
            self._ask(lambda: self._serving.keep_only(self._lease, in_hand))
            return Work(Order.GO_ON)
        self._tell_new({claimed.chunk.job_id for claimed in work.chunks})
        for claimed in work.chunks:
            self._spans.claimed(claimed.chunk, self._jobs[claimed.chunk.job_id])
        self._spans.look()
        return work

    def _tell_new(self, jobs: Set[UUID]) -> None:
        """Whoever looks for a job's id in the worker's log finds where it ran; each job hears how it is scored."""
        if not (new := jobs - self._jobs.keys()):
            return
        traces: Mapping[UUID, TraceParent] = {}
        with suppress(DatabaseError):  # the chunks are in hand, whatever is known of their jobs
            traces = self._serving.traces(new)
        for job_id in new:
            self._jobs[job_id] = traces.get(job_id)
            with self._for_job(job_id):
                log.info("the first of its chunks here")
        if self._why_stock:
            change = f"scoring_mode fast -> stock: {self._why_stock}"
            self.warn({"code": SCORED_AS_STOCK, "change": change}, list(new))

    @contextmanager
    def _for_job(self, job_id: UUID | None) -> Iterator[None]:
        """Log lines name the job meanwhile, if it is for one."""
        trace = self._jobs.get(job_id) if job_id else None
        with working_on("job", job_id), working_on("trace", trace.trace_id if trace else None):
            yield

    def wanted(self, in_hand: Sequence[UUID]) -> frozenset[UUID]:
        """Chunks in hand that are still to be answered; the others are given back."""
        wanted = self._ask(lambda: self._serving.wanted(self._lease, in_hand))
        self._spans.keep(wanted)
        self._spans.look()
        return wanted

    def answer(self, claimed: Claimed, answer: Answer) -> None:
        """Store the answers of a chunk, unless it was taken away."""
        with suppress(ChunkLostError):
            self._ask(lambda: self._serving.answer(self._lease, claimed, answer))
            self._spans.answered(claimed.chunk)
        self._spans.left(claimed.chunk.id)

    def give_up(self, chunk: Chunk, fate: AfterFailure, failure: Failure) -> None:
        """A chunk, with its counts, was not answered; nothing where it was taken away."""
        self._spans.left(chunk.id)
        pieces = divided(chunk, fate)
        with suppress(ChunkLostError):
            self._ask(lambda: self._serving.chunk_failed(self._lease, chunk, fate, pieces, failure))
            with self._for_job(chunk.job_id):
                log.warning("chunk %s failed (%s): %s", chunk.id, fate, failure.message)

    def advance(self, headway: Mapping[UUID, Headway]) -> None:
        """How far the engine is inside chunks in its hands; DatabaseUnreachableError, since it can wait."""
        self._serving.advance(self._lease, headway)

    def warn(self, warning: Mapping[str, Any], jobs: Sequence[UUID] | None = None) -> None:
        """Tell these jobs something they should know; by default all of this replica."""
        self._ask(lambda: self._serving.warn(self._lease, warning, jobs))

    def add_log(self, text: str, job_id: UUID | None) -> None:
        """Append to the replica's log what it wrote on this job's chunks, or on none while it started."""
        self._ask(lambda: self._serving.add_log(self.replica.id, text, job_id))
        with self._for_job(job_id):
            child_lines.tell(text)

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return patiently(call, lambda: self.lost)
        except DatabaseUnreachableError as error:
            raise LeaseLostError(f"the lease on replica {self.replica.id} was lost") from error
