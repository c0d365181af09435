"""Events as clients see them: one shape for each type. Written here they are not: they are sent as they were stored.

Other types and other values may come; who reads leaves out what is not known to it. What a version before did not
tell is not there.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, Json, RootModel

from app.api.schemas.job import FailureOut, JobOut, Out
from app.domain.job import Phase
from app.domain.replica import ReplicaStatus


class JobMoved(Out):
    """Why the job is where it is now."""

    reason: str | None = None


class JobEnded(Out):
    """How the job ended."""

    reason: str | None = None
    error: FailureOut | None = None


class PhaseEntered(Out):
    """What a running job is at."""

    phase: Phase
    reason: str | None = None
    attempt: int | None = Field(default=None, description="At the beginning of each.")


class ProgressMade(Out):
    """How far the job is, counted in requests; null is not known."""

    done: int
    total: int
    percent: float
    tasks: dict[str, int] = Field(description="Requests done, by task.")
    requests_per_second: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None


class TaskScored(Out):
    """A task with its metrics."""

    task: str
    metrics: dict[str, Any]
    error: FailureOut | None = Field(default=None, description="What was left out.")


class JobWarned(Out):
    """What somebody should know: of the job, of a task, or of what an engine changed for a chunk."""

    reason: str | None = None
    task: str | None = None
    code: str | None = None
    message: str | None = None
    replica: UUID | None = None
    chunk: str | None = None
    change: str | None = None


class JobRetried(Out):
    """Something is tried again: why, after which engine, and what was changed for it."""

    reason: str | None = None
    replica: UUID | None = None
    code: str | None = None
    message: str | None = None
    change: str | None = None


class ReplicaServes(Out):
    """An engine is loaded, and answers."""

    replica: UUID
    group: str


class ReplicaGone(Out):
    """An engine ended; `drained` says why its devices are not given out any more."""

    replica: UUID
    status: ReplicaStatus
    drained: str | None = None
    error: FailureOut | None = None


class _Numbered(Out):
    id: int = Field(
        description="Of this job: 1, 2, 3...; among the events of all jobs its place there, with gaps."
    )
    job_id: UUID | None = Field(default=None, description="There among the events of all jobs.")
    number: int | None = Field(default=None, description="There, too: the `id` in the job's own log.")
    at: datetime


class SnapshotEvent(Out):
    """The job itself, at the beginning of a stream and where its reason changed; it has no number."""

    id: None
    at: datetime
    type: Literal["job.snapshot"]
    data: JobOut


class MovedEvent(_Numbered):
    """The job waits, or is put aside."""

    type: Literal["job.queued", "job.paused"]
    data: JobMoved


class PhaseEvent(_Numbered):
    """The job is at something else."""

    type: Literal["job.phase"]
    data: PhaseEntered


class ProgressEvent(_Numbered):
    """The job got on; at most one a second."""

    type: Literal["job.progress"]
    data: ProgressMade


class TaskFinishedEvent(_Numbered):
    """A task is scored."""

    type: Literal["job.task_finished"]
    data: TaskScored


class WarningEvent(_Numbered):
    """The job goes on, and somebody should look."""

    type: Literal["job.warning"]
    data: JobWarned


class RetryingEvent(_Numbered):
    """The job goes on after something failed."""

    type: Literal["job.retrying"]
    data: JobRetried


class ReplicaStartedEvent(_Numbered):
    """An engine of the job is up."""

    type: Literal["replica.started"]
    data: ReplicaServes


class ReplicaEndedEvent(_Numbered):
    """An engine of the job is gone."""

    type: Literal["replica.ended"]
    data: ReplicaGone


class EndedEvent(_Numbered):
    """The job is over."""

    type: Literal["job.succeeded", "job.partially_failed", "job.failed", "job.cancelled"]
    data: JobEnded


class JobEvent(
    RootModel[
        Annotated[
            SnapshotEvent
            | MovedEvent
            | PhaseEvent
            | ProgressEvent
            | TaskFinishedEvent
            | WarningEvent
            | RetryingEvent
            | ReplicaStartedEvent
            | ReplicaEndedEvent
            | EndedEvent,
            Field(discriminator="type"),
        ]
    ]
):
    """One event, told by its `type`."""


class JobEventList(Out):
    """Events after the number asked for, oldest first."""

    data: list[JobEvent]


class AllEventsPage(Out):
    """Events of all jobs, oldest first."""

    data: list[JobEvent]
    next_cursor: str | None = Field(
        description="Null where there are no more; a page may be empty before that."
    )
    position: int = Field(description="Ask with `after` at this for what happens later: nothing is missed.")


class EventMessage(Out):
    """One message of the stream. A snapshot has no `id`; with that of the last one a client connects again."""

    id: str | None = None
    event: str = Field(description="The type of the event.")
    data: Json[JobEvent] = Field(description="The event, a `JobEvent`, as JSON.")
