"""What the worker that holds a replica's lease does; a lost lease raises LeaseLostError."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.chunks import ChunkRepository
from app.db.claims import ClaimRepository
from app.db.engine_facts import EngineFactsRepository
from app.db.engine_measures import EngineMeasureRepository
from app.db.events import EventRepository
from app.db.groups import GroupRepository
from app.db.headway import HeadwayRepository
from app.db.histories import HistoryRepository
from app.db.jobs import JobRepository
from app.db.ledger import LedgerRepository
from app.db.outputs import LogRepository
from app.db.replica_leases import ReplicaLeaseRepository
from app.db.replicas import ReplicaRepository
from app.db.session import Sessions
from app.domain.chunk import AfterFailure, Chunk, ChunkStatus, Room
from app.domain.device_faults import drain_reason
from app.domain.failure import Failure
from app.domain.headway import Headway
from app.domain.ids import uuid7
from app.domain.lease import Lease, Order
from app.domain.measures import LoadMeasure
from app.domain.replica import Replica, ReplicaStatus
from app.domain.trace import TraceParent


@dataclass(frozen=True)
class Claimed:
    """A chunk in a replica's hands, with the fingerprint its answers are stored under."""

    chunk: Chunk
    fingerprint: bytes


@dataclass(frozen=True)
class Work:
    """What a replica should do next."""

    order: Order
    chunks: Sequence[Claimed] = ()


@dataclass(frozen=True)
class Answer:
    """A chunk's responses, each packed; `seconds` on the engine."""

    values: Sequence[bytes]
    seconds: float
    tokens: int
    peak_bytes: float | None = None
    """The most that the engine has taken of a device, where that is more than was told before."""
    notes: Sequence[bytes] = ()
    """One for each response, packed; none where the engine tells nothing."""

    @property
    def responses(self) -> list[tuple[bytes, bytes | None]]:
        """Each with its note."""
        notes: Sequence[bytes | None] = self.notes or [None] * len(self.values)
        return list(zip(self.values, notes, strict=True))


class ServingService:
    """One transaction per method."""

    def __init__(self, *, sessions: Sessions, ttl: timedelta) -> None:
        self._sessions = sessions
        self._ttl = ttl

    def claim(self, replica_id: UUID, holder: str) -> tuple[Lease, Replica] | None:
        """Take a placed replica under a new lease; None if it is not placed any more."""
        lease = Lease(replica_id, uuid7())
        with self._sessions.begin() as session:
            replica = ReplicaLeaseRepository(session).claim(lease, holder, self._ttl)
            return (lease, replica) if replica else None

    def take_spare(self, lease: Lease, spare_id: UUID) -> None:
        """A spare becomes the replica's engine child: what carries its mark ends with the replica. Safe to repeat."""
        with self._sessions.begin() as session:
            ReplicaLeaseRepository(session).take_spare(lease, spare_id)

    def renew(self, lease: Lease) -> Order:
        """Extend the lease; says whether the scheduler wants the devices back."""
        with self._sessions.begin() as session:
            order = ReplicaLeaseRepository(session).renew(lease, self._ttl)
            LedgerRepository(session).idle(lease.id)
            return order

    def loaded(
        self,
        lease: Lease,
        provenance: Mapping[str, Any],
        measured: LoadMeasure | None = None,
        name: str | None = None,
    ) -> None:
        """The engine is up; its jobs hear of it in a transaction of its own, which may have to wait for theirs.

        What it `measured` is kept under the engine's `name`, for plans.
        """
        with self._sessions.begin() as session:
            ReplicaLeaseRepository(session).serving(lease, dict(provenance))
            LedgerRepository(session).loaded(lease.id)
            replica = ReplicaRepository(session).get(lease.id)
            group = replica.group
            if name and measured and measured.known:
                EngineMeasureRepository(session).note(lease.id, replica.engine, name, measured)
        with self._sessions.begin() as session:
            self._tell(session, lease, "replica.started", {"group": group})

    def next(self, lease: Lease, engine_key: str, room: Room) -> Work:
        """Claim what there is room for, unless the scheduler wants the devices back."""
        with self._sessions.begin() as session:
            replicas = ReplicaLeaseRepository(session)
            order = replicas.order(lease)
            if order is Order.RELEASE:
                return Work(order)
            found = ClaimRepository(session).claim(lease, engine_key, room)
            if room.empty:
                self._note_idling(session, lease, idle=not found)
            return Work(order, [Claimed(chunk, fingerprint) for chunk, fingerprint in found])

    def _note_idling(self, session: Session, lease: Lease, *, idle: bool) -> None:
        if not idle:
            LedgerRepository(session).idle(lease.id)
        ReplicaLeaseRepository(session).mark_idle(lease, idle=idle)

    def answer(self, lease: Lease, claimed: Claimed, answer: Answer) -> None:
        """Store the answers of a chunk, all or none; the first answer to a request stands; ChunkLostError."""
        chunk = claimed.chunk
        with self._sessions.begin() as session:
            ReplicaLeaseRepository(session).count(
                lease, len(chunk.keys), answer.tokens, chunk.cost, answer.seconds
            )
            LedgerRepository(session).answered(lease.id, chunk.job_id, answer.seconds)
            ChunkRepository(session).answer(
                lease, chunk, claimed.fingerprint, answer.responses, answer.seconds
            )
            EngineFactsRepository(session).note(claimed.fingerprint, lease.id)
            if answer.peak_bytes is not None:
                EngineMeasureRepository(session).raise_peak(lease.id, answer.peak_bytes)

    def advance(self, lease: Lease, headway: Mapping[UUID, Headway]) -> int:
        """How far the engine is inside chunks in its hands; how many of them the lease still holds."""
        with self._sessions.begin() as session:
            return HeadwayRepository(session).note(lease, headway)

    def chunk_failed(
        self, lease: Lease, chunk: Chunk, fate: AfterFailure, pieces: Sequence[Chunk], error: Failure
    ) -> None:
        """The chunk, with its counts, was not answered: once more, in `pieces`, or never again; ChunkLostError."""
        with self._sessions.begin() as session:
            ReplicaLeaseRepository(session).order(lease)
            LedgerRepository(session).failed(lease.id, chunk.job_id)
            chunks = ChunkRepository(session)
            match fate:
                case AfterFailure.AGAIN:
                    chunks.put_back(lease, chunk)
                case AfterFailure.PROBE | AfterFailure.HALVE:
                    chunks.close(lease, chunk, ChunkStatus.SPLIT, error)
                    waiting = [replace(piece, id=uuid7(), status=ChunkStatus.WAITING) for piece in pieces]
                    chunks.add(waiting, tried=True)
                case AfterFailure.GIVE_UP:
                    chunks.close(lease, chunk, ChunkStatus.FAILED, error)

    def keep_only(self, lease: Lease, in_hand: Sequence[UUID]) -> int:
        """After a claim whose answer was lost: chunks of the lease that are not in hand wait again; how many."""
        with self._sessions.begin() as session:
            ReplicaLeaseRepository(session).order(lease)
            return ChunkRepository(session).give_back([lease.id], keep=in_hand)

    def wanted(self, lease: Lease, in_hand: Sequence[UUID]) -> frozenset[UUID]:
        """Chunks in hand that are still to be answered; the others are let go, until somebody resumes their jobs.

        They are told in the order in which the engine was given them: it is at the first.
        """
        with self._sessions.begin() as session:
            chunks = ChunkRepository(session)
            wanted = chunks.wanted(lease, in_hand)
            if len(wanted) < len(in_hand):
                ReplicaLeaseRepository(session).order(lease)
                if in_hand[0] not in wanted:
                    LedgerRepository(session).taken_away(lease.id, in_hand[0])
                chunks.give_back([lease.id], keep=wanted)
            return frozenset(wanted)

    def warn(self, lease: Lease, data: Mapping[str, Any], jobs: Sequence[UUID] | None = None) -> None:
        """Tell these jobs something they should know; by default those that the replica serves."""
        with self._sessions.begin() as session:
            ReplicaLeaseRepository(session).check(lease)
            self._tell(session, lease, "job.warning", data, jobs=jobs)

    def add_log(self, replica_id: UUID, text: str, job_id: UUID | None) -> None:
        """Append to the replica's log what it wrote on this job's chunks, or on none while it started."""
        with self._sessions.begin() as session:
            LogRepository(session).add(replica_id, text, job_id)

    def end(
        self,
        lease: Lease,
        status: ReplicaStatus,
        error: Failure | None = None,
        suspects: Sequence[UUID] = (),
    ) -> None:
        """End the replica; its devices are dirty until seen clean, or drained as broken.

        Claimed chunks wait again: `suspects` for an engine with nothing else in its hands.
        """
        with self._sessions.begin() as session:
            # Now: a failure may give them another engine.
            jobs = ReplicaRepository(session).jobs_served(lease.id)
            ReplicaLeaseRepository(session).end(lease, status, error)
            LedgerRepository(session).ended([lease.id], status)
            drained = self._condemn(session, lease.id, error) if error else None
            ChunkRepository(session).suspect(lease.id, suspects)
            ChunkRepository(session).give_back([lease.id])
        with self._sessions.begin() as session:
            data: dict[str, Any] = {"status": status}
            data |= {"drained": drained} if drained else {}
            self._tell(session, lease, "replica.ended", data, jobs=jobs, error=error)

    def _condemn(self, session: Session, replica_id: UUID, error: Failure) -> str | None:
        """Drain the devices of a failed replica where they are broken, and say why."""
        replica = ReplicaRepository(session).get(replica_id)
        reason = drain_reason(error, HistoryRepository(session).failure_before(replica))
        if reason is not None:
            GroupRepository(session).condemn(replica.devices, reason)
        return reason

    def release_holders(self, holders: Sequence[str]) -> list[UUID]:
        """Replicas of holders known dead are lost at once; their chunks wait again."""
        with self._sessions.begin() as session:
            lost = ReplicaRepository(session).lose(holders)
            LedgerRepository(session).ended(lost, ReplicaStatus.LOST)
            ChunkRepository(session).interrupt(lost)
            ChunkRepository(session).give_back(lost)
        return lost

    def traces(self, job_ids: Collection[UUID]) -> dict[UUID, TraceParent]:
        """Of each of these jobs that has one."""
        with self._sessions.begin() as session:
            return JobRepository(session).traces(job_ids)

    def holders(self, prefix: str) -> list[str]:
        """Holders of live replicas whose name begins with `prefix`."""
        with self._sessions.begin() as session:
            return ReplicaRepository(session).holders(prefix)

    def is_over(self, owner: str) -> bool:
        """Whether this names a replica of ours that has ended, or its spare: its processes may be killed."""
        try:
            owner_id = UUID(owner)
        except ValueError:  # whatever set the variable, it was not evalq
            return False
        with self._sessions.begin() as session:
            return ReplicaRepository(session).is_over(owner_id)

    def _tell(
        self,
        session: Session,
        lease: Lease,
        event_type: str,
        data: Mapping[str, Any],
        *,
        jobs: Sequence[UUID] | None = None,
        error: Failure | None = None,
    ) -> None:
        """An event for each of these jobs that still runs; by default for those that the replica serves."""
        events, replicas = EventRepository(session), ReplicaRepository(session)
        served = replicas.jobs_served(lease.id) if jobs is None else jobs
        common = {"replica": str(lease.id), **data}
        told = {
            job_id: {**common, "error": error.seen_by(job_id).to_json()} if error else common
            for job_id in replicas.running(served)
        }
        events.append_each(event_type, told)
