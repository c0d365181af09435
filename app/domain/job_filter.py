"""Which jobs somebody wants to see, and what of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
    live: bool = False
    """Only what has not ended."""

    @property
    def chooses(self) -> bool:
        """Whether somebody said which jobs they mean, beside those that they see."""
        said = (self.status, self.owner, self.model, self.task, self.tag, self.name, self.created_after)
        return any(said)


class JobPart(StrEnum):
    """What a list reads and shows of its jobs only where somebody asks for it: each may be large."""

    SPEC = "spec"
    PLAN = "plan"
    TASKS = "tasks"
    ERROR = "error"
