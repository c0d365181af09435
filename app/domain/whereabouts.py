"""What a planned job is waiting for, in a phase and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.domain.headway import Headway
from app.domain.job import Job, Phase
from app.domain.phrases import count
from app.domain.replica import Replica, ReplicaStatus
from app.domain.waits import free_devices, to_load, turn_on


@dataclass(frozen=True)
class Engines:
    """What there is for a job at a moment."""

    replicas: Sequence[Replica] = ()
    """Live ones that may answer it."""
    headway: Mapping[UUID, Headway] = field(default_factory=dict)
    """Of those that hold chunks of it, by replica."""
    uncollected: int = 0
    """Requests in chunks that ended, which nobody has collected."""
    dead: Sequence[Replica] = ()
    """Those that were counted on and have died, as the job may know it."""
    draining: bool = False
    """Whether its group takes nothing new."""


def where(engines: Engines, job: Job) -> tuple[Phase, str]:
    """By the replicas of its engine, and whether they answer its own requests."""
    replicas, busy = engines.replicas, len(engines.headway)
    serving = [replica for replica in replicas if replica.status is ReplicaStatus.SERVING]
    if busy:
        return Phase.EVALUATING, f"evaluating on {count(busy, 'replica')}"
    if serving:
        return Phase.EVALUATING, f"waiting for {turn_on(serving)}"
    if replicas:
        return Phase.LOADING, f"waiting for {to_load(job, replicas)}"
    if engines.draining:
        return Phase.WAITING_FOR_GPU, f"waiting for group {job.group}, which is draining"
    return Phase.WAITING_FOR_GPU, f"waiting for {free_devices(job)}"
