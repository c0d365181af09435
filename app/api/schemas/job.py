"""A job as clients see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain.engine_spec import Scoring
from app.domain.job import JobStatus, Phase, TaskStatus
from app.domain.replica import ReplicaStatus


class Out(BaseModel):
    """What is sent: read from domain objects where the names agree."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())


class PlannedMemoryOut(Out):
    """What one GPU of a replica is reckoned to need."""

    rule_gb: float = Field(description="By the guides' rule of thumb: parameters x bytes x 1.2 / GPUs.")
    weights_gib: float
    activations_gib: float
    runtime_gib: float
    cache_gib: float = Field(description="Of one request of full length.")
    cache_kib_per_token: float | None
    card_gib: float = Field(description="Memory of the smallest GPU that it fits.")
    source: str | None = Field(description="Where the model's size is from.")


class PlannedMeasuresOut(Out):
    """What engines of the same kind measured when they were loaded so before; null is not known."""

    device_kind: str
    loads: int
    load_seconds: float | None
    weights_gib: float | None = Field(description="Of the GPU that holds most.")
    peak_gib: float | None
    cache_tokens: int | None = Field(description="That the engine's cache holds.")
    requests_per_second: float | None
    tokens_per_second: float | None


class WayOutOut(Out):
    """A change that makes a model fit."""

    change: dict[str, bool | int | str]
    fits: bool
    note: str


class PlanOut(Out):
    """How the job is run, and why."""

    backend: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpus_per_replica: int
    replicas: int | Literal["auto"]
    group: str | None
    memory_per_gpu_gib: float | None
    explanation: list[str]
    command: str = Field(
        description="The equivalent lm_eval command line; empty beside errors, and where it is very long."
    )
    memory: PlannedMemoryOut | None = None
    fit: Literal["fits", "tight", "no"] | None = Field(
        default=None, description="Null where the model or the GPUs are not known."
    )
    ways_out: list[WayOutOut] = Field(default=[], description="What to change where it does not fit well.")
    measured: PlannedMeasuresOut | None = None
    scoring_mode: Scoring | None = Field(
        default=None,
        description="What `scoring_mode` comes to; null in jobs of versions that knew stock alone.",
    )


class ProgressOut(Out):
    """How far the job is, counted in requests."""

    done: int
    total: int | None = Field(description="Null until all prompts are built.")
    unit: Literal["requests"] = "requests"
    percent: float | None
    reused: int = Field(description="Answered from stored responses.")
    requests_per_second: float | None
    tokens_per_second: float | None
    eta_seconds: float | None
    stalled_seconds: float = Field(
        description="How long engines gave an evaluating job nothing: no answer, no token."
    )


class FailureOut(Out):
    """Why something failed."""

    code: str
    message: str
    task: str | None
    hint: str | None
    log_tail: list[str]
    attempts: list[dict[str, Any]]
    facts: dict[str, bool | int | float | str] = Field(
        default={}, description="What the engine's text told, as values: `longest`, the tokens that fit."
    )
    ways_out: list[WayOutOut] = Field(
        default=[], description="What to change in a job that failed for memory; `evalq retry --set` does."
    )


class TaskQualityOut(Out):
    """What may make a task's score say less than it seems. A count is null where answers that an earlier version stored
    do not tell it."""

    documents: int = Field(description="With those that were left out.")
    documents_left_out: int = Field(description="Of the score, because no engine could answer them.")
    requests: int = Field(description="Of the documents that were scored; what is asked twice alike is one.")
    requests_not_known: int = Field(description="Whose answers an earlier version stored.")
    prompts_cut: int | None = Field(description="Requests whose context did not fit.")
    answers: int = Field(description="Requests that a text answers.")
    answers_truncated: int | None = Field(
        description="Texts that ended because they were as long as they may be."
    )
    answers_empty: int = Field(description="Texts of nothing but blanks.")
    max_gen_toks: int | None = Field(description="Tokens of a text at most; null where that differs.")
    filter_found_nothing: dict[str, int] = Field(
        description="For each filter that searches, documents in whose answers it found nothing."
    )


class TaskOut(Out):
    """One lm-eval task of the job."""

    name: str
    status: TaskStatus
    done: int
    total: int | None
    metrics: dict[str, Any] | None
    quality: TaskQualityOut | None = Field(
        default=None, description="Null before the task is scored, and where an earlier version scored it."
    )
    error: FailureOut | None


class ReplicaOut(Out):
    """An engine that works, or worked, for the job."""

    id: UUID
    group: str
    devices: list[str]
    status: ReplicaStatus
    requests_done: int
    placed_at: datetime
    serving_at: datetime | None
    ended_at: datetime | None
    error: FailureOut | None


class LinksOut(Out):
    """Absolute paths of what belongs to the job."""

    self: str
    events: str
    results: str
    samples: str
    artifacts: str
    logs: str


class EstimateOut(Out):
    """Seconds from now, as the scheduler's rules run forward tell; a job that engines answer begins at 0."""

    start_low_seconds: float | None
    start_seconds: float | None
    start_high_seconds: float | None = Field(description="Null where it may take beyond what is looked at.")
    end_low_seconds: float | None
    end_seconds: float | None
    end_high_seconds: float | None


class JobOut(Out):
    """A job: its immutable spec, its plan, and where it stands."""

    id: UUID
    name: str | None
    owner: str
    team: str
    status: JobStatus
    phase: Phase | None
    reason: str | None = Field(description="In words, why the job is where it is.")
    priority: int
    tags: list[str]
    spec: dict[str, Any]
    plan: PlanOut
    progress: ProgressOut
    estimate: EstimateOut | None = Field(
        default=None,
        description="When it begins and ends. Null in lists, for a job that is over or put aside, for one too far"
        " behind in line, and for one that nothing there can ever run.",
    )
    tasks: list[TaskOut]
    replicas: list[ReplicaOut]
    attempt: int
    trace_id: str | None = Field(
        description="Of the trace that the request which posted it belongs to. Null in jobs of earlier versions."
    )
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    pause_requested_at: datetime | None
    gpu_seconds: float
    error: FailureOut | None
    links: LinksOut


class EventOut(Out):
    """One entry of a job's log; numbers are dense. A snapshot has no number."""

    id: int | None
    at: datetime
    type: str
    data: dict[str, Any]


class EventList(Out):
    """Events after the number asked for, oldest first."""

    data: list[EventOut]


class SerialEventOut(EventOut):
    """An event of one of all jobs."""

    job_id: UUID
    number: int


class SerialEventList(Out):
    """Events behind a position, oldest first."""

    data: list[SerialEventOut]
    next_cursor: str | None
    position: int
