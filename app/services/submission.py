"""From what a user posted to a job that can run: every fault at once, or a complete spec and a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.engine_spec import EngineSpec
from app.domain.plan import Plan


@dataclass(frozen=True)
class Submission:
    """A job that passed every check, not yet stored."""

    spec: Mapping[str, Any]
    engine: EngineSpec
    plan: Plan
    tasks: tuple[str, ...]
    """Leaf tasks the names expand to."""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """The user's name for it."""
        return self.spec.get("name")

    @property
    def priority(self) -> int:
        """Higher goes first; 50 unless given."""
        return int(self.spec["priority"])

    @property
    def tags(self) -> tuple[str, ...]:
        """The user's tags."""
        return tuple(self.spec["tags"])

    @property
    def deadline_seconds(self) -> float | None:
        """Seconds from submission until the job is late."""
        seconds = self.spec["deadline_seconds"]
        return None if seconds is None else float(seconds)
