"""What devices did lately: replicas, each with the jobs that it answered as far as that can be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from app.domain.job import JobStatus, Phase
from app.domain.replica import Replica

MOST = 20
"""Jobs of a replica that are read: a bar names one."""


@dataclass(frozen=True)
class Occupant:
    """A job as a bar of a timeline names it."""

    id: UUID
    name: str | None
    team: str
    model: str
    engine_key: str
    group: str | None
    """The only one that may answer it."""
    status: JobStatus
    phase: Phase | None
    requests_done: int
    requests_total: int | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Occupied:
    """A replica, and the jobs of its engine that ran while it held its devices: the last MOST that began."""

    replica: Replica
    jobs: tuple[Occupant, ...]


def occupied(replicas: Sequence[Replica], jobs: Iterable[Occupant]) -> list[Occupied]:
    """Which of the jobs each replica may have answered."""
    by_engine: dict[str, list[Occupant]] = defaultdict(list)
    for job in sorted(jobs, key=lambda job: job.started_at):
        by_engine[job.engine_key].append(job)
    return [
        Occupied(replica, _last(job for job in reversed(by_engine[replica.engine.key]) if _met(replica, job)))
        for replica in replicas
    ]


def _last(jobs: Iterator[Occupant]) -> tuple[Occupant, ...]:
    return tuple(islice(jobs, MOST))[::-1]


def _met(replica: Replica, job: Occupant) -> bool:
    if job.group not in {None, replica.group}:
        return False
    before = job.ended_at is not None and job.ended_at <= replica.placed_at
    after = replica.ended_at is not None and job.started_at >= replica.ended_at
    return not before and not after
