"""A replica: one engine loaded on one block of devices under a lease."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure


class ReplicaStatus(StrEnum):
    """Where a replica stands."""

    PLACED = "placed"
    LOADING = "loading"
    SERVING = "serving"
    RELEASED = "released"
    FAILED = "failed"
    LOST = "lost"

    @property
    def live(self) -> bool:
        """True while it holds its devices."""
        return self in LIVE


LIVE = frozenset({ReplicaStatus.PLACED, ReplicaStatus.LOADING, ReplicaStatus.SERVING})

REPLICA_MOVES: Mapping[ReplicaStatus, frozenset[ReplicaStatus]] = {
    ReplicaStatus.PLACED: frozenset({ReplicaStatus.LOADING, ReplicaStatus.RELEASED, ReplicaStatus.LOST}),
    ReplicaStatus.LOADING: frozenset(
        {ReplicaStatus.SERVING, ReplicaStatus.RELEASED, ReplicaStatus.FAILED, ReplicaStatus.LOST}
    ),
    ReplicaStatus.SERVING: frozenset({ReplicaStatus.RELEASED, ReplicaStatus.FAILED, ReplicaStatus.LOST}),
    ReplicaStatus.RELEASED: frozenset(),
    ReplicaStatus.FAILED: frozenset(),
    ReplicaStatus.LOST: frozenset(),
}
"""Every legal move of a replica."""


class DeviceState(StrEnum):
    """Whether a device may be given out."""

    FREE = "free"
    HELD = "held"
    DIRTY = "dirty"
    DRAINED = "drained"


@dataclass(frozen=True)
class Device:
    """One GPU, or one CPU slot on a machine without GPUs."""

    id: str
    index: int
    name: str
    memory_bytes: int | None = None
    state: DeviceState = DeviceState.FREE
    reason: str | None = None
    replica_id: UUID | None = None
    island: int | None = None
    """Devices of one number in a group reach each other over fast links."""


@dataclass(frozen=True)
class Replica:
    """One row of `replicas`, as the rules see it."""

    id: UUID
    group: str
    engine: EngineSpec
    status: ReplicaStatus
    devices: tuple[str, ...]
    placed_at: datetime
    claimed_at: datetime | None = None
    serving_at: datetime | None = None
    idle_since: datetime | None = None
    ended_at: datetime | None = None
    release_requested_at: datetime | None = None
    requests_done: int = 0
    cost_per_second: float | None = None
    error: Failure | None = None
    early_for: UUID | None = None
    """The job for which it was started before that had any request; none once it was given some."""

    @property
    def early(self) -> bool:
        """Whether it was started before there was anything to answer, and was given nothing yet.

        Workers of earlier versions tell that only with what it answered.
        """
        return self.early_for is not None and not self.requests_done

    def seen_by(self, job_id: UUID) -> Replica:
        """The replica without the words that other jobs caused."""
        return replace(self, error=self.error and self.error.seen_by(job_id))

    @property
    def failed(self) -> bool:
        """Whether its engine failed; a worker that is lost while it loads one may be lost by that."""
        lost_loading = self.status is ReplicaStatus.LOST and self.claimed_at and not self.serving_at
        return self.status is ReplicaStatus.FAILED or bool(lost_loading)

    def obituary(self) -> dict[str, Any]:
        """Which engine died, of what, and what becomes of its requests."""
        ended, error = f"replica {self.id} in group {self.group} {self.status}", self.error
        why = {"code": error.code, "message": error.message} if error else {}
        told = f"{ended}: {error.message}" if error else ended
        return {"reason": f"{told}; what it had not stored is asked again", "replica": str(self.id), **why}
