"""A job: what a user asked for, where it stands, and how it may move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.keys import DEFAULT_TEAM
from app.domain.plan import Plan
from app.domain.quality import TaskQuality
from app.domain.trace import TraceParent
from app.errors import IllegalMoveError


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    PARTIALLY_FAILED = "partially_failed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """True where nothing happens any more by itself."""
        return self in TERMINAL


class Phase(StrEnum):
    """What a running job is doing."""

    PREPARING = "preparing"
    WAITING_FOR_GPU = "waiting_for_gpu"
    LOADING = "loading"
    EVALUATING = "evaluating"
    SCORING = "scoring"


class TaskStatus(StrEnum):
    """Where one lm-eval task of a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIALLY_FAILED = "partially_failed"
    """Scored without the documents that no engine could answer."""
    FAILED = "failed"


OPEN = frozenset({TaskStatus.WAITING, TaskStatus.RUNNING})
"""No task of an ended job is one of these."""

SCORED = frozenset({TaskStatus.SUCCEEDED, TaskStatus.PARTIALLY_FAILED})

TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.PARTIALLY_FAILED, JobStatus.FAILED, JobStatus.CANCELLED})

MOVES: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset(JobStatus) - {JobStatus.RUNNING},
    JobStatus.PAUSED: frozenset({JobStatus.QUEUED, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.PARTIALLY_FAILED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""Every legal move of a job by itself or by its lease holder."""

RETRYABLE = frozenset({JobStatus.PARTIALLY_FAILED, JobStatus.FAILED, JobStatus.CANCELLED})
"""Terminal statuses a user may send back to the queue: a new attempt of the same job."""


CANCELLED = "cancelled by its user"
PAUSED = "paused by its user"
"""Why a job stands where it does, in words."""

LATE = Failure(
    FailureCode.DEADLINE_EXCEEDED,
    "the job did not end by its deadline",
    hint="retry it with a later one",
)

MAX_LOSSES = 10
"""Coordinators that a job may lose in a row without an answer in between, before it is suspected itself."""

LOST = Failure(
    FailureCode.LOST,
    f"{MAX_LOSSES} coordinators in a row were lost while they held this job",
    hint="see the coordinator workers' logs; a retry starts the count anew",
)


@dataclass(frozen=True)
class JobTask:
    """One lm-eval task of a job; `done` and `total` count requests."""

    name: str
    status: TaskStatus = TaskStatus.WAITING
    done: int = 0
    total: int | None = None
    metrics: Mapping[str, Any] | None = None
    error: Failure | None = None
    quality: TaskQuality | None = None
    """None of a task that is not scored, and of one that an earlier version scored."""


@dataclass(frozen=True)
class Job:
    """One row of `jobs`, as the rules see it."""

    id: UUID
    owner: str
    name: str | None
    spec: Mapping[str, Any]
    """As stored: carried, never looked into (see app.workloads.lm_eval.spec). In lists the outline stands for it."""
    engine: EngineSpec
    plan: Plan
    created_at: datetime
    status: JobStatus = JobStatus.QUEUED
    phase: Phase | None = None
    reason: str | None = None
    priority: int = 50
    tags: tuple[str, ...] = ()
    team: str = DEFAULT_TEAM
    """Who sees the job: its owner's team, for good."""
    outline: Mapping[str, Any] = field(default_factory=dict)
    """What lists show of the spec, kept beside it when the job is made: a spec may be of megabytes."""
    trace: TraceParent | None = None
    """Of the request that posted it; None of a job that an earlier version stored."""
    attempt: int = 0
    version: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    pause_requested_at: datetime | None = None
    lease_expires_at: datetime | None = None
    """When its coordinator loses it unless it is heard of before."""
    due_at: datetime | None = None
    """Since when it wants its place at a coordinator again: it was parked, and nobody has taken it up yet."""
    waits_for: str | None = None
    """What the cluster lacks, in words; no coordinator takes the job before it is there."""
    requests_total: int | None = None
    requests_done: int = 0
    requests_reused: int = 0
    progress_at: datetime | None = None
    gpu_seconds: float = 0.0
    error: Failure | None = None
    tasks: tuple[JobTask, ...] = field(default=())

    @property
    def trace_id(self) -> str | None:
        """By which its spans and log lines are found."""
        return self.trace.trace_id if self.trace else None

    @property
    def group(self) -> str | None:
        """The only group whose replicas may answer it; None means any."""
        return self.plan.group

    def _queued_for(self, reason: str) -> str:
        return reason if self.waits_for is None else waiting(self.waits_for)

    def moved_to(self, status: JobStatus, now: datetime, reason: str | None = None) -> Job:
        """The job in another status; IllegalMoveError where the table has no such move."""
        if status not in MOVES[self.status]:
            raise IllegalMoveError(f"job {self.id} is {self.status} and cannot become {status}")
        ended_at = now if status.terminal else None
        return replace(self, status=status, phase=None, reason=reason, ended_at=ended_at)

    def cancelled(self, now: datetime) -> Job:
        """End a waiting job now; ask a running one to stop. Safe to repeat."""
        if self.status is JobStatus.CANCELLED:
            return self
        if self.status is JobStatus.RUNNING:
            return replace(self, cancel_requested_at=self.cancel_requested_at or now, reason="cancelling")
        return self.moved_to(JobStatus.CANCELLED, now, reason="cancelled before it ran")

    def paused(self, now: datetime) -> Job:
        """Hold a waiting job now; ask a running one to stop at a chunk boundary. Safe to repeat."""
        if self.status is JobStatus.PAUSED:
            return self
        if self.status is JobStatus.RUNNING:
            return replace(self, pause_requested_at=self.pause_requested_at or now, reason="pausing")
        return self.moved_to(JobStatus.PAUSED, now, reason=PAUSED)

    def resumed(self, now: datetime) -> Job:
        """Back to the queue with every answer it has. Safe to repeat."""
        if self.status in {JobStatus.QUEUED, JobStatus.RUNNING}:
            return replace(self, pause_requested_at=None)
        reason = self._queued_for("resumed")
        return replace(self.moved_to(JobStatus.QUEUED, now, reason=reason), pause_requested_at=None)

    def retried(self, now: datetime) -> Job:
        """A new attempt of an ended job, keeping every answer it has."""
        if self.status not in RETRYABLE:
            raise IllegalMoveError(
                f"job {self.id} is {self.status}: only failed or cancelled jobs are retried"
            )
        tasks = tuple(replace(task, status=TaskStatus.WAITING, error=None) for task in self.tasks)
        return replace(
            self,
            status=JobStatus.QUEUED,
            reason=self._queued_for(f"retried at {now:%Y-%m-%d %H:%M:%S} UTC"),
            ended_at=None,
            error=None,
            cancel_requested_at=None,
            pause_requested_at=None,
            deadline_at=None,
            tasks=tasks,
        )


def waiting(waits_for: str | None) -> str:
    """Why a job is queued."""
    return "waiting for a coordinator" if waits_for is None else f"waiting for {waits_for}"


def outcome(tasks: tuple[JobTask, ...]) -> JobStatus:
    """How a job ends whose tasks have all been scored or given up."""
    statuses = {task.status for task in tasks}
    if statuses == {TaskStatus.FAILED}:
        return JobStatus.FAILED
    return JobStatus.SUCCEEDED if statuses <= {TaskStatus.SUCCEEDED} else JobStatus.PARTIALLY_FAILED


def left_over(status: JobStatus, error: Failure | None = None) -> Failure:
    """Why a task is over that was not done when its job ended so."""
    if error is not None:
        return Failure(error.code, error.message, hint=error.hint)
    if status is JobStatus.CANCELLED:
        return Failure(FailureCode.CANCELLED, "the job was cancelled before this task was done")
    return Failure(FailureCode.INTERNAL, "the job ended before this task was done")


def deadline(created_at: datetime, seconds: float | None) -> datetime | None:
    """When a job that must end within `seconds` of its creation is late."""
    return created_at + timedelta(seconds=seconds) if seconds else None
