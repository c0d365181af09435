"""The queue as clients see it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.api.schemas.job import EstimateOut, Out
from app.domain.ahead import Why
from app.domain.job import JobStatus, Phase
from app.domain.replica import ReplicaStatus
from app.domain.waits import Cause


class AheadOut(Out):
    """A job that is served before."""

    id: UUID
    why: Why


class AllAheadOut(Out):
    """The jobs that are served before, of all teams."""

    count: int
    by: dict[Why, int] = Field(description="How many of them, by why they are.")
    first: list[AheadOut] = Field(description="The first few of those that the caller may see.")


class HolderOut(Out):
    """A replica that has what the job waits for."""

    id: UUID
    group: str
    devices: int
    status: ReplicaStatus
    jobs: list[UUID] = Field(description="Whose requests it has in hand, of those that the caller may see.")
    other_jobs: int = Field(description="Likewise, of other teams.")


class WaitOut(Out):
    """What a job waits for."""

    cause: Cause
    words: str
    since: datetime | None = Field(description="When that began, where it is known.")
    devices: int | None = Field(description="How many devices it needs at once, in one group.")
    held_by: list[HolderOut]


class WaitingOut(Out):
    """A job that waits; of another team's job neither id, name, owner, model nor address is told."""

    position: int = Field(description="1 is served next.")
    id: UUID | None
    name: str | None
    owner: str | None
    status: JobStatus
    phase: Phase | None
    priority: int
    model: str | None
    waiting_for: str
    wait: WaitOut
    ahead: AllAheadOut | None = Field(
        description="Null for a job that is put aside: it waits for its user, or for what the cluster lacks."
    )
    gpus_per_replica: int
    group: str | None
    created_at: datetime
    estimate: EstimateOut | None = Field(
        description="When it begins and ends; null for a job that is put aside, for one too far behind in line, and"
        " for one that nothing there can ever run."
    )
    estimated_start_seconds: float | None = Field(description="As in `estimate`.")
    href: str | None


class QueueOut(Out):
    """What waits, in the order it is served."""

    data: list[WaitingOut]
    next_cursor: str | None
    total: int = Field(description="Jobs that wait, on all pages.")
    troubles: list[str] = Field(description="In words, what keeps all of them waiting.")
