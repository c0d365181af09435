"""How the run of a replica ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from app.domain.failure import Failure


@dataclass(frozen=True)
class Released:
    """It was asked to leave and has left; what was in its hands waits again."""


@dataclass(frozen=True)
class EngineFailed:
    """Its engine did not start, died or stood still."""

    failure: Failure
    suspects: tuple[UUID, ...] = ()
    """Chunks that it had in work, where one of several may be why."""


@dataclass(frozen=True)
class Fenced:
    """Its lease was lost: nothing more may be written."""

    reason: str


Ending: TypeAlias = Released | EngineFailed | Fenced
