"""How one try at a job ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from app.domain.deaths import Death


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


Ending: TypeAlias = Ended | EngineChanged | HarnessDied | DatabaseAway
