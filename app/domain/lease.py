"""A lease: the right to work until it expires, proved by a token that fences every write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


@dataclass(frozen=True)
class Lease:
    """What a holder shows with every write; expiry is judged by the database's clock."""

    id: UUID
    """The job or replica that is leased."""
    token: UUID


class Order(StrEnum):
    """What a renewal may ask of the holder."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    PAUSE = "pause"
    RELEASE = "release"
    DEADLINE = "deadline"

    @classmethod
    def of(cls, cancel: datetime | None, pause: datetime | None, late: bool | None) -> Order:
        """What the user of a job wants: when that was asked for, and whether its deadline has passed."""
        if cancel:
            return cls.CANCEL
        if late:
            return cls.DEADLINE
        return cls.PAUSE if pause else cls.GO_ON
