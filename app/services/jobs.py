"""Jobs as their users handle them: submit, read, change, cancel, pause, resume, retry, delete."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from app.asking import trace
from app.broker import Doorbell
from app.db.chunks import ChunkRepository
from app.db.events import EventRepository
from app.db.histories import HistoryRepository
from app.db.jobs import JobRepository
from app.db.listings import ListingRepository
from app.db.session import Sessions
from app.db.waits import WaitRepository
from app.domain.estimates import Estimates, unknown
from app.domain.event import Event
from app.domain.ids import uuid7
from app.domain.job import Job, JobStatus, JobTask, deadline, waiting
from app.domain.job_filter import JobFilter, JobPart
from app.domain.keys import DEFAULT_TEAM
from app.domain.trace import TraceParent
from app.errors import (
    AlreadyStoredError,
    IdempotencyConflictError,
    IdempotencyInFlightError,
    IllegalMoveError,
    QuotaExceededError,
    StaleJobError,
    UnknownJobError,
)
from app.services.job_view import STALL, JobView, JobViews, News, view_of
from app.services.whereabouts import NO_QUOTAS, waits
from app.workloads.lm_eval.reading.read import Submission
from app.workloads.lm_eval.spec import LmEvalSpec

T = TypeVar("T")

SWAP_ATTEMPTS = 20
RESERVATIONS = 5
"""Keys held at once in a process: each holds a connection of the pool while its job is checked."""
MOVING = frozenset({"job.phase", *(f"job.{status}" for status in JobStatus)})
"""Types of events that say where a job stands from then on."""
QUOTA_SECONDS = 60
"""When to ask again for a place among the team's jobs: nobody knows when one of them ends."""


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class JobService:
    """One transaction per method; the doorbell rings after the commit."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        doorbell: Doorbell,
        now: Callable[[], datetime] = utc_now,
        team_jobs: int = 0,
        ttl: timedelta = timedelta(minutes=1),
        estimates: Callable[[], Estimates] = unknown,
        quotas: Mapping[str, int] = NO_QUOTAS,
        stall: timedelta = STALL,
    ) -> None:
        """`team_jobs` is the most that may not have ended of one team, 0 for no limit; `ttl` is that of leases."""
        self._ttl = ttl
        self._estimates = estimates
        self._quotas = quotas
        self._stall = stall
        self._sessions = sessions
        self._team_jobs = team_jobs
        self._doorbell = doorbell
        self._now = now
        self._reservations = BoundedSemaphore(RESERVATIONS)

    def submit_once(
        self,
        check: Callable[[], Submission],
        owner: str,
        idempotency_key: str,
        body_hash: str,
        team: str = DEFAULT_TEAM,
    ) -> tuple[Job, bool]:
        """Check and store a job unless its key is known; IdempotencyInFlightError while another call does."""
        with self._reserved(team, owner, idempotency_key):
            if known := self.known(team, owner, idempotency_key, body_hash):
                return known, False
            return self.submit(check(), owner, idempotency_key, body_hash, team)

    @contextmanager
    def _reserved(self, team: str, owner: str, idempotency_key: str) -> Iterator[None]:
        with self._reservations, self._sessions.begin() as session:
            if not JobRepository(session).reserve(team, owner, idempotency_key):
                raise IdempotencyInFlightError(
                    f"a request with idempotency key {idempotency_key!r} is still being answered; ask again"
                )
            yield

    def submit(
        self,
        submission: Submission,
        owner: str,
        idempotency_key: str | None = None,
        body_hash: str | None = None,
        team: str = DEFAULT_TEAM,
    ) -> tuple[Job, bool]:
        """Store a queued job, or QuotaExceededError; a known idempotency key gives its first job and False."""
        try:
            job, created = self._submit(submission, owner, idempotency_key, body_hash, team)
        except AlreadyStoredError:  # the same key, posted at the same moment: the other one is stored by now
            job, created = self._submit(submission, owner, idempotency_key, body_hash, team)
        if created:
            self._doorbell.ring_job(job.id)
            self._doorbell.wake(job.id)
        return job, created

    def known(self, team: str, owner: str, idempotency_key: str, body_hash: str) -> Job | None:
        """The job first posted with this key; another body raises IdempotencyConflictError."""
        with self._sessions.begin() as session:
            found = JobRepository(session).by_idempotency_key(team, owner, idempotency_key)
        if found and found[1] != body_hash:
            raise IdempotencyConflictError(
                f"idempotency key {idempotency_key!r} was used for job {found[0].id} with another body"
            )
        return found[0] if found else None

    def _submit(
        self,
        submission: Submission,
        owner: str,
        idempotency_key: str | None,
        body_hash: str | None,
        team: str,
    ) -> tuple[Job, bool]:
        if idempotency_key and (known := self.known(team, owner, idempotency_key, body_hash or "")):
            return known, False
        now, spec = self._now(), submission.spec
        questions = spec.questions  # of a large spec it takes long, and nobody waits for it here
        job = Job(
            id=uuid7(),
            owner=owner,
            team=team,
            name=spec.name,
            spec=spec.to_json(),
            outline=spec.outline(),
            engine=submission.engine,
            plan=submission.plan,
            priority=spec.priority,
            tags=spec.tags,
            created_at=now,
            trace=trace.get() or TraceParent.new(),
            reason=waiting(submission.waits_for),
            waits_for=submission.waits_for,
            deadline_at=deadline(now, spec.deadline_seconds),
            tasks=tuple(JobTask(name) for name in submission.tasks),
        )
        with self._sessions.begin() as session:
            self._check_quota(session, team)
            JobRepository(session).add(job, idempotency_key, body_hash, questions=questions, events=1)
            EventRepository(session).begin(job.id, "job.queued", {"reason": job.reason})
        return job, True

    def _check_quota(self, session: Session, team: str) -> None:
        """QuotaExceededError unless one more job of the team may wait or run."""
        if self._team_jobs and JobRepository(session).unended(team) >= self._team_jobs:
            raise QuotaExceededError(
                f"team {team} has {self._team_jobs} jobs that have not ended, the most it may have (EVALQ_TEAM_JOBS):"
                " wait for one to end, or cancel one",
                QUOTA_SECONDS,
            )

    def check_seen(self, job_id: UUID, team: str | None) -> None:
        """UnknownJobError where a team has no such job, whoever else may have it; None sees every job."""
        if team is None:
            return
        with self._sessions.begin() as session:
            if not JobRepository(session).has_team(job_id, team):
                raise UnknownJobError(f"there is no job {job_id}")

    def view(self, job_id: UUID) -> JobView:
        """The job with its replicas and rates; UnknownJobError."""
        told = self._estimates()
        with self._sessions.begin() as session:
            job = JobRepository(session).get(job_id)
            # One that has not started had no engine: whoever submits it is answered sooner.
            replicas = HistoryRepository(session).replicas(job_id) if job.started_at else []
            rates = JobRepository(session).rates([job_id])[job_id]
            found = waits(WaitRepository(session), [job], self._ttl, self._now(), self._quotas, told=told)
        wait = found.get(job_id)
        estimate = None if job.status.terminal else told.of(job_id, self._now())
        return view_of(job, rates, self._now(), replicas, wait=wait, estimate=estimate, stall=self._stall)

    def view_of_new(self, job: Job) -> JobView:
        """A job that was stored just now, as `view` shows it while nobody has taken it up; reads nothing."""
        told, now = self._estimates(), self._now()
        with self._sessions.begin() as session:  # opened, as nothing is asked, over no connection
            found = waits(WaitRepository(session), [job], self._ttl, now, self._quotas, told=told)
        return view_of(job, {}, now, wait=found.get(job.id), estimate=told.of(job.id, now))

    def page(
        self,
        wanted: JobFilter,
        limit: int,
        before: tuple[datetime, UUID] | None,
        parts: Collection[JobPart] = (),
    ) -> JobViews:
        """Newest first, without replicas; of what may be large only these parts, and then fewer than `limit`."""
        told, now = self._estimates(), self._now()
        with self._sessions.begin() as session:
            jobs, more = ListingRepository(session).page(wanted, limit, before, parts)
            rates = JobRepository(session).rates([job.id for job in jobs])
            waiting_for = waits(WaitRepository(session), jobs, self._ttl, now, self._quotas, told=told)
        views = [
            view_of(job, rates[job.id], now, wait=waiting_for.get(job.id), stall=self._stall) for job in jobs
        ]
        return JobViews(views, more)

    def events(self, job_id: UUID, after: int, limit: int = 1000) -> Sequence[Event]:
        """The job's events after a number, oldest first; UnknownJobError."""
        with self._sessions.begin() as session:
            JobRepository(session).get(job_id)
            return EventRepository(session).after(job_id, after, limit)

    def moves(self, job_id: UUID) -> Sequence[Event]:
        """What moved the job from one status or phase to another, oldest first."""
        with self._sessions.begin() as session:
            return EventRepository(session).of_types(job_id, MOVING)

    def news(self, job_id: UUID, after: int, limit: int = 1000) -> News:
        """The job's events after a number, and whether there will be more; UnknownJobError."""
        with self._sessions.begin() as session:
            job = JobRepository(session).get(job_id)  # first: what is terminal here has all its events there
            events = EventRepository(session).after(job_id, after, limit)
        return News(events, ended=job.status.terminal and len(events) < limit)

    def change(
        self,
        job_id: UUID,
        *,
        name: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] | None = None,
    ) -> Job:
        """Change what may change after submission; None leaves a field as it is."""

        def changed(job: Job) -> Job:
            return replace(
                job,
                name=job.name if name is None else name,
                priority=job.priority if priority is None else priority,
                tags=job.tags if tags is None else tuple(tags),
            )

        return self._swap(job_id, changed)

    def cancel(self, job_id: UUID) -> Job:
        """End a waiting job now, ask a running one to stop; safe to repeat; IllegalMoveError when it has ended."""
        return self._swap(job_id, lambda job: job.cancelled(self._now()))

    def pause(self, job_id: UUID) -> Job:
        """Hold the job with all its answers; safe to repeat; IllegalMoveError when it has ended."""
        return self._swap(job_id, lambda job: job.paused(self._now()))

    def resume(self, job_id: UUID) -> Job:
        """Let a paused job wait again; safe to repeat; IllegalMoveError when it has ended."""
        return self._ring_if_queued(self._swap(job_id, lambda job: job.resumed(self._now())))

    def retry(self, job_id: UUID) -> Job:
        """A new attempt of an ended job, keeping every answer; IllegalMoveError otherwise."""
        now = self._now()
        with self._sessions.begin() as session:
            jobs = JobRepository(session)
            old = jobs.get(job_id)
            self._check_quota(session, old.team)
            seconds = LmEvalSpec.from_json(old.spec).deadline_seconds
            retried = replace(old.retried(now), deadline_at=deadline(now, seconds))
            jobs.reset_tasks(job_id)
            job = jobs.swap(old, retried)
            ChunkRepository(session).drop(job_id)
            EventRepository(session).append(job_id, "job.queued", {"reason": job.reason})
        self._doorbell.wake(job_id)
        return self._ring_if_queued(job)

    def delete(self, job_id: UUID) -> None:
        """Forget a terminal job and all that belongs to it; IllegalMoveError while it may still run."""
        _until_fresh(job_id, lambda: self._delete_once(job_id))

    def _delete_once(self, job_id: UUID) -> None:
        with self._sessions.begin() as session:
            job = JobRepository(session).get(job_id)
            if not job.status.terminal:
                raise IllegalMoveError(f"job {job_id} is {job.status}: cancel it before deleting it")
            JobRepository(session).delete(job)

    def _swap(self, job_id: UUID, change: Callable[[Job], Job]) -> Job:
        """Apply a pure change, again where somebody else wrote the row in between."""
        job = _until_fresh(job_id, lambda: self._swap_once(job_id, change))
        self._doorbell.wake(job_id)
        return job

    def _swap_once(self, job_id: UUID, change: Callable[[Job], Job]) -> Job:
        with self._sessions.begin() as session:
            jobs = JobRepository(session)
            old = jobs.get(job_id)
            new = change(old)
            if new == old:
                return old
            stored = jobs.swap(old, new)
            if new.status is not old.status:
                EventRepository(session).append(job_id, f"job.{new.status}", {"reason": new.reason})
                if new.status.terminal:
                    ChunkRepository(session).drop(job_id)
            return stored

    def _ring_if_queued(self, job: Job) -> Job:
        if job.status is JobStatus.QUEUED:
            self._doorbell.ring_job(job.id)
        return job


def _until_fresh(job_id: UUID, step: Callable[[], T]) -> T:
    """What the step gives, tried again where somebody else wrote the job's row in between."""
    for _ in range(SWAP_ATTEMPTS):
        with suppress(StaleJobError):
            return step()
    raise StaleJobError(f"job {job_id} changes too quickly; ask again")
