"""What a planned job is waiting for, in a phase and in words."""

from __future__ import annotations

from app.domain.job import Job, Phase
from app.domain.replica import Replica, ReplicaStatus


def where(replicas: list[Replica], busy: int, draining: bool, job: Job) -> tuple[Phase, str]:
    """By the replicas of its engine; `busy` of them answer its own requests, and its group may take nothing new."""
    serving = sum(replica.status is ReplicaStatus.SERVING for replica in replicas)
    if busy:
        return Phase.EVALUATING, f"evaluating on {_count(busy, 'replica')}"
    if serving:
        return (
            Phase.EVALUATING,
            f"waiting for its turn on {_count(serving, 'replica')} shared with other jobs",
        )
    if replicas:
        return Phase.LOADING, f"loading {job.engine.model} on {replicas[0].group}"
    if draining:
        return Phase.WAITING_FOR_GPU, f"waiting for group {job.group}, which is draining"
    place = f"group {job.group}" if job.group else "one group"
    return Phase.WAITING_FOR_GPU, f"waiting for {_count(job.engine.gpus, 'free device')} in {place}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
