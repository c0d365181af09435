"""Which jobs somebody wants to see, and what of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.job import JobStatus


@dataclass(frozen=True)
class Subject:
    """A job as filters see it."""

    id: UUID
    status: JobStatus
    owner: str
    team: str
    model: str
    tags: frozenset[str]
    name: str | None
    created_at: datetime
    last: int
    """The number of its last event."""
    tasks: frozenset[str] = frozenset()
    """Of those that somebody asks for, the ones that it has."""


@dataclass(frozen=True)
class JobFilter:
    """What the jobs must have; None means any."""

    status: str | None = None
    owner: str | None = None
    team: str | None = None
    model: str | None = None
    """Part of its name or folder, in any case."""
    task: str | None = None
    tag: str | None = None
    name: str | None = None
    created_after: datetime | None = None
    ids: tuple[UUID, UUID] | None = None
    """The first and the last that its id may be."""
    live: bool = False
    """Only what has not ended."""

    @property
    def chooses(self) -> bool:
        """Whether somebody said which jobs they mean, beside those that they see."""
        said = (self.status, self.owner, self.model, self.task, self.tag, self.name, self.created_after)
        return any(said) or self.ids is not None

    def matches(self, job: Subject) -> bool:
        """Whether a list with this filter has the job; one that asks for a task was told of it."""
        exactly = (
            (self.status, job.status),
            (self.owner, job.owner),
            (self.team, job.team),
            (self.name, job.name),
        )
        return (
            all(has == wanted for wanted, has in exactly if wanted)
            and (not self.tag or self.tag in job.tags)
            and (not self.task or self.task in job.tasks)
            and (not self.model or self.model.lower() in job.model.lower())
            and (self.created_after is None or job.created_at > self.created_after)
            and (self.ids is None or self.ids[0] <= job.id <= self.ids[1])
            and not (self.live and job.status.terminal)
        )


class JobPart(StrEnum):
    """What a list reads and shows of its jobs only where somebody asks for it: each may be large."""

    SPEC = "spec"
    PLAN = "plan"
    TASKS = "tasks"
    ERROR = "error"
