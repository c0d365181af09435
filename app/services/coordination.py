"""What the coordinator that holds a job's lease does to it; a lost lease raises LeaseLostError."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.db.chunks import ChunkRepository, Collected, Stored
from app.db.engine_facts import EngineFactsRepository
from app.db.events import EventRepository
from app.db.groups import GroupRepository
from app.db.headway import HeadwayRepository
from app.db.histories import HistoryRepository
from app.db.job_leases import JobLeaseRepository
from app.db.job_tasks import JobTaskRepository
from app.db.jobs import JobRepository
from app.db.outputs import LogRepository, SampleRepository
from app.db.parked_jobs import ParkedJobRepository
from app.db.replicas import ReplicaRepository
from app.db.session import Sessions
from app.db.unheld_jobs import UnheldJobRepository
from app.domain.chunk import Chunk
from app.domain.failure import Failure
from app.domain.ids import uuid7
from app.domain.job import PAUSED, SCORED, Job, JobStatus, Phase, outcome
from app.domain.lease import Lease, Order
from app.domain.output import SampleLine
from app.domain.quality import TaskQuality
from app.domain.replica import Replica
from app.domain.whereabouts import Engines
from app.services.binding import BindingService
from app.services.parking import ParkingService
from app.services.remedies import RemedyService
from app.services.waiting import GONE_AFTER, WaitingService


@dataclass(frozen=True)
class Progress:
    """What a coordinator knows after a look at its chunks."""

    done: int
    tasks: Mapping[str, int]
    rates: Mapping[str, float | None]
    moved: bool = True
    """Whether an engine gave anything since the last look: an answer, or a part of one."""
    dead: Sequence[Replica] = ()
    """Replicas with which answers were lost that had been counted as done."""


class CoordinationService:
    """One transaction per method; `wake` tells readers after the commit."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        wake: Callable[[UUID], None],
        ttl: timedelta,
        gone_after: timedelta = GONE_AFTER,
    ) -> None:
        self._sessions = sessions
        self._wake = wake
        self._ttl = ttl
        self.remedies = RemedyService(sessions=sessions, wake=wake, ttl=ttl)
        self.binding = BindingService(sessions=sessions, wake=wake)
        self.parking = ParkingService(sessions=sessions, wake=wake, ttl=ttl)
        self.waiting = WaitingService(sessions=sessions, wake=wake, gone_after=gone_after)

    def claim(self, rung_for: UUID, holder: str) -> tuple[Lease, Job] | None:
        """Take the first job in line under a new lease; None if nothing waits that nobody else is writing.

        One whose engines are done goes before those that only begin: its attempt goes on, in the phase it is in.
        Messages come as they were sent, old ones before urgent ones: they say that there is work, not which.
        """
        with self._sessions.begin() as session:
            leases, parked = JobLeaseRepository(session), ParkedJobRepository(session)
            if due := parked.claim_first(holder, self._ttl):
                return due, JobRepository(session).get(due.id)
            lease = Lease(leases.first_in_line() or rung_for, uuid7())
            if not leases.claim(lease, holder, self._ttl):
                return None
            SampleRepository(session).clear(lease.id)
            job = JobRepository(session).get(lease.id)
            data = {"phase": Phase.PREPARING, "attempt": job.attempt}
            EventRepository(session).append(lease.id, "job.phase", data)
        self._wake(lease.id)
        return lease, job

    def renew(self, lease: Lease) -> Order:
        """Extend the lease; returns what the job's user wants."""
        with self._sessions.begin() as session:
            return JobLeaseRepository(session).renew(lease, self._ttl)

    def held(self, lease: Lease) -> Job:
        """The job as it is now, if the lease still holds; LeaseLostError."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).order(lease)
            return JobRepository(session).get(lease.id)

    def order(self, lease: Lease) -> Order:
        """What the job's user wants."""
        with self._sessions.begin() as session:
            return JobLeaseRepository(session).order(lease)

    def enter(self, lease: Lease, phase: Phase, reason: str) -> None:
        """The job is in another phase; how fast it goes there is not known yet."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).write(lease, phase=phase, reason=reason, rates=None)
            EventRepository(session).append(lease.id, "job.phase", {"phase": phase, "reason": reason})
        self._wake(lease.id)

    def explain(self, lease: Lease, reason: str) -> None:
        """Say in words why the job is where it is."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).write(lease, reason=reason)

    def settle_engine(self, lease: Lease, args: Mapping[str, Any]) -> Job:
        """The engine's arguments that prompts will be cut for; none was asked for with others. Safe to repeat."""
        with self._sessions.begin() as session:
            engine = replace(JobRepository(session).get(lease.id).engine, args=args)
            JobLeaseRepository(session).write(lease, engine=engine.to_json(), engine_key=engine.key)
            return JobRepository(session).get(lease.id)

    def prepared(
        self,
        lease: Lease,
        fingerprint: bytes,
        totals: Sequence[tuple[str, int]],
        provenance: Mapping[str, Any],
        *,
        again: bool = False,
    ) -> Job:
        """All requests are built: how many per task, and what their answers depend on.

        Built `again` for one that was parked, its tasks stand where they stood.
        """
        with self._sessions.begin() as session:
            leases = JobLeaseRepository(session)
            total = sum(count for _, count in totals)
            if void := leases.prepared(lease, fingerprint, total):
                ChunkRepository(session).drop(lease.id, claimed=True)
                leases.write(lease, phase=Phase.PREPARING)
            leases.add_provenance(lease, provenance)
            JobTaskRepository(session).replace(lease.id, totals, keep=again and not void)
            return JobRepository(session).get(lease.id)

    def lookup(self, fingerprint: bytes, keys: Sequence[bytes]) -> list[Stored]:
        """Answers that are stored already."""
        with self._sessions.begin() as session:
            return ChunkRepository(session).find(fingerprint, keys)

    def pending_keys(self, job_id: UUID) -> set[bytes]:
        """Keys in chunks of an earlier attempt that are still to be answered."""
        with self._sessions.begin() as session:
            return ChunkRepository(session).pending_keys(job_id)

    def pending_cost(self, job_id: UUID) -> float:
        """Tokens that engines are still to answer for the job."""
        with self._sessions.begin() as session:
            return ChunkRepository(session).pending_cost(job_id)

    def store_chunks(self, lease: Lease, chunks: Sequence[Chunk]) -> None:
        """Store some of the job's chunks; the others follow, the last of them by `store_plan`."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).order(lease, lock=True)
            ChunkRepository(session).add(chunks)

    def store_plan(self, lease: Lease, chunks: Iterable[Chunk], reused: int, told: str | None = None) -> None:
        """Store the last chunks: now every request is answered or in one, but for `reused` that were before.

        What the prompts turned out to be is `told` in the plan.
        """
        with self._sessions.begin() as session:
            ChunkRepository(session).add(chunks)
            leases = JobLeaseRepository(session)
            leases.planned(lease, reused)
            if told is not None:
                plan = JobRepository(session).get(lease.id).plan
                leases.write(lease, plan=plan.telling(told).to_json())

    def withdraw(self, lease: Lease, keys: Collection[bytes]) -> None:
        """Nobody asks these any more: chunks of nothing else are forgotten. Safe to repeat."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).order(lease, lock=True)
            ChunkRepository(session).withdraw(lease.id, keys)

    def collect(self, lease: Lease, fingerprint: bytes) -> Collected:
        """Answers and failures that came since the last look. Taken once: a crash after it is made good by lookup.

        Fenced: a holder whose lease is over would take them from the next one.
        """
        with self._sessions.begin() as session:
            JobLeaseRepository(session).order(lease, lock=True)
            return ChunkRepository(session).collect(lease.id, fingerprint)

    def engine_facts(self, lease: Lease, fingerprint: bytes) -> dict[str, Any] | None:
        """What an engine of the job said of itself; None where none of this fingerprint is known any more."""
        with self._sessions.begin() as session:
            return EngineFactsRepository(session).of_job(lease.id, fingerprint)

    def progress(self, lease: Lease, progress: Progress, data: Mapping[str, Any], gpu_seconds: float) -> None:
        """Write how far the job is, with an event; before it one for each engine that died and took answers along."""
        with self._sessions.begin() as session:
            leases, events = JobLeaseRepository(session), EventRepository(session)
            leases.advance(lease, progress.done, dict(progress.rates), gpu_seconds, moved=progress.moved)
            JobTaskRepository(session).progress(lease.id, progress.tasks)
            for replica in progress.dead:
                events.append(lease.id, "job.retrying", replica.obituary())
            events.append(lease.id, "job.progress", dict(data))
        self._wake(lease.id)

    def warn(self, lease: Lease, data: Mapping[str, Any], event_type: str = "job.warning") -> None:
        """Tell the job's readers something they should know."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).write(lease)
            EventRepository(session).append(lease.id, event_type, dict(data))
        self._wake(lease.id)

    def task_finished(
        self,
        lease: Lease,
        task: str,
        metrics: Mapping[str, Any],
        error: Failure | None = None,
        quality: TaskQuality | None = None,
    ) -> None:
        """The task is scored; its metrics can be read before the job ends. An error says what was left out."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).write(lease)
            if not JobTaskRepository(session).finish(lease.id, task, metrics, error, quality):
                return  # it was scored before the job was parked
            data = {"task": task, "metrics": dict(metrics)} | ({"error": error.to_json()} if error else {})
            EventRepository(session).append(lease.id, "job.task_finished", data)
        self._wake(lease.id)

    def task_failed(self, lease: Lease, task: str, error: Failure, *, given_up: bool = False) -> None:
        """The task cannot be scored; the others go on. One that is `given_up` is not built again."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).write(lease)
            if not JobTaskRepository(session).fail(lease.id, task, error, given_up=given_up):
                return
            data = {"task": task, "code": error.code, "message": error.message}
            EventRepository(session).append(lease.id, "job.warning", data)
        self._wake(lease.id)

    def add_samples(self, lease: Lease, task: str, first: int, rows: Sequence[SampleLine]) -> None:
        """Store sample lines of a task from position `first` on."""
        with self._sessions.begin() as session:
            JobLeaseRepository(session).write(lease)
            SampleRepository(session).add(lease.id, task, first, rows)

    def add_log(self, owner_id: UUID, text: str) -> None:
        """Append to the log of a job or a replica."""
        with self._sessions.begin() as session:
            LogRepository(session).add(owner_id, text)

    def engines(self, job: Job, counted_on: Collection[UUID] = ()) -> Engines:
        """Live replicas that may answer the job, how far they are with it, and which it was `counted_on` have died."""
        with self._sessions.begin() as session:
            live = ReplicaRepository(session).live()
            replicas = [r for r in live if r.engine.key == job.engine.key and job.group in (None, r.group)]
            headway, uncollected = HeadwayRepository(session).of_job(job.id, [r.id for r in replicas])
            gone = set(counted_on) - {replica.id for replica in live}
            dead = HistoryRepository(session).dead(gone) if gone else []
            draining = job.group is not None and GroupRepository(session).is_draining(job.group)
        return Engines(replicas, headway, uncollected, [r.seen_by(job.id) for r in dead], draining)

    def finish(self, lease: Lease, document: str, name: str, date: str) -> JobStatus:
        """Store lm-eval's document and end the job; its status follows from its tasks."""
        with self._sessions.begin() as session:
            job = JobRepository(session).get(lease.id)
            status = outcome(job.tasks)
            error = next((task.error for task in job.tasks if task.error), None)
            reason = "done" if error is None else f"done, but for {error.task}: {error.message}"
            JobLeaseRepository(session).write(lease, results=document, result_name=name, result_date=date)
            self._end(session, lease, status, reason, error)
        self._wake(lease.id)
        return status

    def fail(self, lease: Lease, error: Failure) -> None:
        """End the job as failed; tasks that were scored keep their metrics."""
        with self._sessions.begin() as session:
            tasks = JobRepository(session).get(lease.id).tasks
            scored = any(task.status in SCORED for task in tasks)
            status = JobStatus.PARTIALLY_FAILED if scored else JobStatus.FAILED
            self._end(session, lease, status, error.message, error)
        self._wake(lease.id)

    def stop(self, lease: Lease, status: JobStatus, reason: str) -> None:
        """Cancel the job, or put it back as paused or queued; every answer is kept."""
        with self._sessions.begin() as session:
            self._end(session, lease, status, reason, None)
        self._wake(lease.id)

    def pause(self, lease: Lease) -> bool:
        """Put the job aside; False where its user wants it to go on after all, or to end."""
        with self._sessions.begin() as session:
            if JobLeaseRepository(session).order(lease, lock=True) is not Order.PAUSE:
                return False
            self._end(session, lease, JobStatus.PAUSED, PAUSED, None)
        self._wake(lease.id)
        return True

    def _end(
        self, session: Session, lease: Lease, status: JobStatus, reason: str, error: Failure | None
    ) -> None:
        replicas = HistoryRepository(session).replicas(lease.id)
        engines = ReplicaRepository(session).provenance([replica.id for replica in replicas])
        leases = JobLeaseRepository(session)
        leases.add_provenance(lease, {"engines": engines})
        leases.let_go(lease, status, reason, error)
        data = {"reason": reason} | ({"error": error.to_json()} if error else {})
        EventRepository(session).append(lease.id, f"job.{status}", data)
        if status.terminal:
            ChunkRepository(session).drop(lease.id)

    def release_holders(self, holders: Sequence[str]) -> list[UUID]:
        """Jobs of holders known dead wait again at once."""
        with self._sessions.begin() as session:
            released = UnheldJobRepository(session).requeue_expired("its coordinator was restarted", holders)
            for job_id in released:
                EventRepository(session).append(
                    job_id, "job.retrying", {"reason": "its coordinator was restarted"}
                )
        return released

    def holders(self, prefix: str) -> list[str]:
        """Holders of running jobs whose name begins with `prefix`."""
        with self._sessions.begin() as session:
            return JobLeaseRepository(session).holders(prefix)
