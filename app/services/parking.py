"""Jobs that wait for engines without a coordinator's place: parked, kept, and given a place again when they are due."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.db.chunks import ChunkRepository
from app.db.job_leases import JobLeaseRepository
from app.db.jobs import JobRepository
from app.db.parked_jobs import ParkedJobRepository
from app.db.session import Sessions
from app.domain.failure import Failure
from app.domain.job import Job
from app.domain.lease import Lease
from app.domain.parking import Gathered, Stir

ADOPTED_AT_ONCE = 50
DUE = "its engines are done: waiting for a coordinator"


@dataclass(frozen=True)
class Adopted:
    """A parked job that nobody kept, under a new lease, with what engines are still to answer."""

    lease: Lease
    job: Job
    requests: int
    cost: float


class ParkingService:
    """One transaction per method; `wake` tells readers after the commit."""

    def __init__(self, *, sessions: Sessions, wake: Callable[[UUID], None], ttl: timedelta) -> None:
        self._sessions = sessions
        self._wake = wake
        self._ttl = ttl

    def wants_room(self, lease: Lease, most_bytes: int) -> bool:
        """Whether others could use the place that this job has while it waits."""
        with self._sessions.begin() as session:
            return ParkedJobRepository(session).wants_room(lease, most_bytes)

    def park(self, lease: Lease) -> None:
        """All requests of the job are stored: it waits without a place, under the same lease. LeaseLostError."""
        with self._sessions.begin() as session:
            ParkedJobRepository(session).park(lease)

    def adopt(self, holder: str) -> list[Lease]:
        """Keep some of the parked jobs that nobody keeps."""
        with self._sessions.begin() as session:
            return ParkedJobRepository(session).adopt(holder, self._ttl, ADOPTED_AT_ONCE)

    def adopted(self, lease: Lease) -> Adopted:
        """One of these, read apart from the others: one that cannot be read is its own trouble. LeaseLostError."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).order(lease)
            job, chunks = JobRepository(session).get(lease.id), ChunkRepository(session)
            return Adopted(lease, job, chunks.pending_requests(lease.id), chunks.pending_cost(lease.id))

    def renew_all(self, leases: Sequence[Lease]) -> None:
        """Extend the leases of parked jobs; one that is lost is no more among those that stir."""
        with self._sessions.begin() as session:
            ParkedJobRepository(session).renew(leases, self._ttl)

    def stirs(self, leases: Sequence[Lease]) -> Mapping[UUID, Stir]:
        """What goes on around the parked jobs that these leases still hold."""
        with self._sessions.begin() as session:
            return ParkedJobRepository(session).stirs(leases)

    def failures(self, job_id: UUID) -> dict[bytes, Failure]:
        """Requests that no engine could answer since the job's last retry: they are not asked again."""
        with self._sessions.begin() as session:
            return ChunkRepository(session).failures(job_id)

    def count_answered(self, lease: Lease) -> Gathered:
        """What engines answered since the last look; no answer is taken from the job's harness. LeaseLostError."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).order(lease, lock=True)
            answered = ChunkRepository(session).count_answered(lease.id)
            if answered.stored_bytes:
                ParkedJobRepository(session).free(lease, answered.stored_bytes)
            return answered

    def give_back(self, lease: Lease) -> None:
        """The job is due: the next coordinator with a place goes on with it. LeaseLostError."""
        with self._sessions.begin() as session:
            ParkedJobRepository(session).give_back(lease, DUE)
        self._wake(lease.id)

    def let_go(self, leases: Sequence[Lease]) -> None:
        """Who kept the jobs leaves: somebody else keeps them."""
        with self._sessions.begin() as session:
            ParkedJobRepository(session).let_go(leases)
