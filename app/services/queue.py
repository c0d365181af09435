"""The queue: which jobs wait, for what, at which place, and for about how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.backends.standing_in import that_serve
from app.db.capacity import CapacityRepository
from app.db.jobs import JobRepository
from app.db.session import Sessions
from app.domain.job import Job, JobStatus, Phase
from app.domain.placement import Group
from app.domain.plan import least_bytes
from app.domain.replica import Device, DeviceState
from app.workloads.lm_eval.spec import LmEvalSpec


@dataclass(frozen=True)
class Waiting:
    """A job that waits; `seconds` is None where nothing running tells when devices come free."""

    job: Job
    position: int
    waiting_for: str
    seconds: float | None


def line_up(waiting: Sequence[Job], seconds_left: Sequence[float], groups: Sequence[Group]) -> list[Waiting]:
    """Jobs in the order they are served; the n-th of them starts about when the n-th running one ends.

    One that waits for capacity keeps nobody behind it waiting.
    """
    free_in = iter(sorted(seconds_left))
    return [
        Waiting(
            job, place, _waiting_for(job, groups), None if _lacks(job) is not None else next(free_in, None)
        )
        for place, job in enumerate(waiting, 1)
    ]


def _lacks(job: Job) -> str | None:
    """What the cluster must get before a queued job is in line."""
    return job.waits_for if job.status is JobStatus.QUEUED else None


def _waiting_for(job: Job, groups: Sequence[Group]) -> str:
    if (lacks := _lacks(job)) is not None:
        return lacks
    if job.status is JobStatus.QUEUED:
        return "a coordinator, to build its prompts"
    if job.status is JobStatus.PAUSED:
        return "its user, to resume it"
    if job.phase is Phase.EVALUATING:
        return "its turn on replicas shared with other jobs"
    if job.phase is Phase.LOADING:
        return "its engine to load"
    return _devices(job, [group for group in groups if job.group in {None, group.name}])


def _devices(job: Job, groups: Sequence[Group]) -> str:
    """Free devices, or what must be there first: a worker, its backend, as many devices in one group."""
    named = f"group {job.group}" if job.group else None
    running = [group for group in groups if group.alive and not group.draining]
    if named and not running:
        return f"{named}, {_absence(groups)}"
    offering = [group for group in running if job.engine.backend in group.backends]
    if not offering:
        return f"the backend {_missing(job, running)} in {named or 'a running group'}"
    least = least_bytes(job.plan)
    most = max(sum(_may_hold(device, least) for device in g.devices) for g in offering)
    size = f" of {job.plan.memory.card_gib:.1f} GiB" if job.plan.memory else ""
    devices = (
        f"{job.engine.gpus} free device{'s' if job.engine.gpus > 1 else ''}{size} in {named or 'one group'}"
    )
    return devices if most >= job.engine.gpus else f"{devices}, where there are {most} at most"


def _may_hold(device: Device, least: int | None) -> bool:
    large = not least or not device.memory_bytes or device.memory_bytes >= least
    return large and device.state is not DeviceState.DRAINED


def _missing(job: Job, running: Sequence[Group]) -> str:
    """The backends that would do, but for those that are there: such a one would serve the job if it could."""
    offered = {name for group in running for name in group.backends}
    others = [name for name in that_serve(LmEvalSpec.from_json(job.spec).model) if name not in offered]
    return " or ".join(dict.fromkeys((job.engine.backend, *others)))


def _absence(groups: Sequence[Group]) -> str:
    if not groups:
        return "of which no worker has reported"
    return "which is draining" if groups[0].alive else "whose worker is silent"


class QueueService:
    """Reads only."""

    def __init__(self, *, sessions: Sessions, ttl: timedelta) -> None:
        self._sessions = sessions
        self._ttl = ttl

    def waiting(self) -> list[Waiting]:
        """Jobs that wait, for whatever it is, in the order they are served."""
        with self._sessions.begin() as session:
            jobs = JobRepository(session)
            waiting = jobs.waiting()
            rates = jobs.rates(jobs.evaluating())
            groups = CapacityRepository(session).groups(self._ttl)
        left = [found["eta_seconds"] for found in rates.values() if found.get("eta_seconds") is not None]
        return line_up(waiting, left, groups)
