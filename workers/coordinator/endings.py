"""How one try at a job ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from app.domain.deaths import Death

if TYPE_CHECKING:
    from workers.coordinator.course import Course


@dataclass(frozen=True)
class Ended:
    """The job has ended, or was given back: nothing is left to do."""


@dataclass(frozen=True)
class EngineChanged:
    """The job's answers now depend on another engine spec: its prompts are cut anew."""


@dataclass(frozen=True)
class HarnessDied:
    """The harness child ended without a result, or was given up."""

    death: Death


@dataclass(frozen=True)
class DatabaseAway:
    """The database failed on the way; what was to be stored may be stored again."""


@dataclass(frozen=True)
class Parked:
    """The job waits for engines and needs no place; its lease holds."""

    course: Course


Ending: TypeAlias = Ended | EngineChanged | HarnessDied | DatabaseAway | Parked
