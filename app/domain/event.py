"""One entry of a job's log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Event:
    """What happened to a job; numbers are dense and in the order of commits."""

    id: int
    at: datetime
    type: str
    data: Mapping[str, Any]
