"""The queue: which jobs wait, for what, at which place, and for about how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.db.jobs import JobRepository
from app.db.session import Sessions
from app.domain.job import Job, JobStatus, Phase


@dataclass(frozen=True)
class Waiting:
    """A job that waits; `seconds` is None where nothing running tells when devices come free."""

    job: Job
    position: int
    waiting_for: str
    seconds: float | None


def line_up(waiting: Sequence[Job], seconds_left: Sequence[float]) -> list[Waiting]:
    """Jobs in the order they are served; the n-th of them starts about when the n-th running one ends."""
    free_in = sorted(seconds_left)
    return [
        Waiting(job, place, _waiting_for(job), free_in[place - 1] if place <= len(free_in) else None)
        for place, job in enumerate(waiting, 1)
    ]


def _waiting_for(job: Job) -> str:
    if job.status is JobStatus.QUEUED:
        return "a coordinator, to build its prompts"
    if job.status is JobStatus.PAUSED:
        return "its user, to resume it"
    if job.phase is Phase.EVALUATING:
        return "its turn on replicas shared with other jobs"
    if job.phase is Phase.LOADING:
        return "its engine to load"
    devices = f"{job.engine.gpus} free device" + ("s" if job.engine.gpus > 1 else "")
    return f"{devices} in {f'group {job.plan.group}' if job.plan.group else 'one group'}"


class QueueService:
    """Reads only."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    def waiting(self) -> list[Waiting]:
        """Jobs that wait, for whatever it is, in the order they are served."""
        with self._sessions.begin() as session:
            jobs = JobRepository(session)
            waiting = jobs.waiting()
            rates = jobs.rates(jobs.evaluating())
        left = [found["eta_seconds"] for found in rates.values() if found.get("eta_seconds") is not None]
        return line_up(waiting, left)
