"""A job as lists show it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from app.api.schemas.job import FailureOut, Out, PlanOut, ProgressOut, TaskOut
from app.domain.job import JobStatus, Phase


class SummaryProgressOut(ProgressOut):
    """How far the job is; what is not known is left out."""

    total: int | None = Field(default=None, description="Not there until all prompts are built.")
    percent: float | None = None
    requests_per_second: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None


class SummaryLinksOut(Out):
    """Absolute paths."""

    self: str
    results: str


class SummaryOut(Out):
    """A job in a list: at most 1 kB of JSON beside what `fields` asks for; what is null is left out."""

    id: UUID
    name: str | None = None
    owner: str
    team: str
    status: JobStatus
    phase: Phase | None = None
    reason: str | None = Field(default=None, description="Its first line.")
    priority: int
    tags: list[str]
    backend: str
    model: str = Field(description="Its folder, or its name on the hub.")
    tasks: list[str | TaskOut] = Field(
        description="As they were asked for; with `fields=tasks` each that there is, as in the job."
    )
    progress: SummaryProgressOut
    attempt: int
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deadline_at: datetime | None = None
    gpu_seconds: float
    links: SummaryLinksOut
    cut: list[str] | None = Field(
        default=None, description="What is not whole here; named in `fields` it is."
    )
    spec: dict[str, Any] | None = None
    plan: PlanOut | None = None
    error: FailureOut | None = None


class SummaryPage(Out):
    """Jobs, newest first."""

    data: list[SummaryOut]
    next_cursor: str | None
