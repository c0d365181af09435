"""A lease: the right to work until it expires, proved by a token that fences every write."""

from __future__ import annotations

from dataclasses import dataclass
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
