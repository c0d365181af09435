"""What a job waits for that does not go on: a cause for programs, words for people, and who has what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.job import Job, JobStatus, Phase, waiting
from app.domain.phrases import at, count, named, none_leads
from app.domain.placement import Group, KeptDevices
from app.domain.plan import least_bytes
from app.domain.replica import Device, DeviceState, Replica, ReplicaStatus


class Cause(StrEnum):
    """Why a job does not go on."""

    CAPACITY = "capacity"
    """The cluster lacks what it needs; it is not in line."""
    COORDINATOR = "coordinator"
    COORDINATOR_LOST = "coordinator_lost"
    """Its lease is over, and the scheduler has not put it back yet."""
    USER = "user"
    SCHEDULER = "scheduler"
    """None leads: nobody gives out devices."""
    BACKEND = "backend"
    GROUP = "group"
    """Every group that could serve it is silent, draining, or was never there."""
    DEVICES = "devices"
    QUOTA = "quota"
    """Devices that it would have if nobody had a quota."""
    LOADING = "loading"
    TURN = "turn"
    """Engines that it shares answer other jobs first."""


@dataclass(frozen=True)
class Served:
    """A job whose requests an engine has in hand."""

    id: UUID
    team: str


@dataclass(frozen=True)
class Holder:
    """A replica that holds devices which a job waits for, or that answers others first."""

    replica: Replica
    serves: tuple[Served, ...]


@dataclass(frozen=True)
class Wait:
    """What a job waits for."""

    cause: Cause
    words: str
    """To be read behind "waiting for"; they name no other job."""
    since: datetime | None = None
    """When that began, as far as it is known."""
    devices: int | None = None
    """How many it needs at once, in one group."""
    holders: tuple[Holder, ...] = ()
    quota: str = ""
    """To be read behind the words, by those who may see the job."""
    kept: KeptDevices | None = None


@dataclass(frozen=True)
class Cluster:
    """What there is at a moment, and who has it."""

    groups: Sequence[Group] = ()
    replicas: Sequence[Replica] = ()
    """Live ones."""
    served: Mapping[UUID, tuple[Served, ...]] = field(default_factory=dict)
    """By replica."""
    failed: Sequence[Replica] = ()
    """Engines that failed a moment ago."""
    leads: bool = True
    """Whether there is a scheduler that leads."""
    led_at: datetime | None = None
    """When one was heard of last."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """Devices that are a team's before anybody else's."""

    def used_by(self, team: str) -> int:
        """Devices of engines that have requests of the team in hand."""
        own = (r for r in self.replicas if any(each.team == team for each in self.served.get(r.id, ())))
        return sum(len(replica.devices) for replica in own)

    def at(self, job: Job) -> list[Group]:
        """The groups that the job may use."""
        return [group for group in self.groups if job.group in {None, group.name}]

    def holders(self, groups: Sequence[Group]) -> tuple[Holder, ...]:
        """Who has devices of these groups."""
        names = {group.name for group in groups}
        return tuple(self.holder(replica) for replica in self.replicas if replica.group in names)

    def holder(self, replica: Replica) -> Holder:
        """A replica, and the jobs whose requests it has in hand."""
        return Holder(replica, self.served.get(replica.id, ()))


NOWHERE = Cluster()

TO_ENGINES = frozenset({Phase.WAITING_FOR_GPU, Phase.LOADING, Phase.EVALUATING})
"""Phases in which a job needs engines to go on."""


@dataclass(frozen=True)
class Asking:
    """A job that may wait, with what only others know of it."""

    job: Job
    backends: tuple[str, ...]
    """Whose engines would do."""
    unanswered: bool = False
    """Some of its requests wait to be taken by an engine."""
    answered: bool = False
    """Engines have answered all that they were asked."""
    kept: KeptDevices | None = None
    """Free devices that would do for it are somebody's who is ahead."""
    by_quota: bool = False
    """It would have devices if nobody had a quota."""


def wait_of(asking: Asking, cluster: Cluster, now: datetime) -> Wait | None:
    """What the job waits for; None where it goes on or is over."""
    job = asking.job
    match job.status:
        case JobStatus.QUEUED if job.waits_for is not None:
            return Wait(Cause.CAPACITY, job.waits_for, job.created_at)
        case JobStatus.QUEUED:
            return Wait(Cause.COORDINATOR, "a coordinator")
        case JobStatus.PAUSED:
            return Wait(Cause.USER, "its user, to resume it")
        case JobStatus.RUNNING:
            return _running(asking, cluster, now)
        case _:
            return None


def _running(asking: Asking, cluster: Cluster, now: datetime) -> Wait | None:
    job = asking.job
    if job.lease_expires_at and job.lease_expires_at < now:
        words = (
            f"another coordinator: the one that had it was last heard of before {at(job.lease_expires_at)}"
        )
        return Wait(Cause.COORDINATOR_LOST, words, job.lease_expires_at)
    if job.due_at is not None:
        return Wait(Cause.COORDINATOR, "a coordinator, to go on with what its engines answered", job.due_at)
    if job.cancel_requested_at or job.pause_requested_at:
        return None
    if job.phase not in TO_ENGINES or not (asking.unanswered or job.phase is not Phase.EVALUATING):
        return None
    if any(each.id == job.id for replica in cluster.replicas for each in cluster.served.get(replica.id, ())):
        return None
    return for_engines(asking, cluster)


def for_engines(asking: Asking, cluster: Cluster) -> Wait:
    """What a job waits for of which no engine has a request in hand."""
    if asking.answered:
        return Wait(Cause.COORDINATOR, "its coordinator, to score what its engines answered")
    job, running = asking.job, {group.name for group in cluster.at(asking.job) if group.alive}
    own = [r for r in cluster.replicas if r.engine.key == job.engine.key and r.group in running]
    own = [replica for replica in own if replica.release_requested_at is None]
    serving = [replica for replica in own if replica.status is ReplicaStatus.SERVING]
    if serving:
        return Wait(Cause.TURN, turn_on(serving), holders=tuple(map(cluster.holder, serving)))
    if own:
        again = f", again: {failed}" if (failed := _failed(job, cluster)) else ""
        return Wait(Cause.LOADING, to_load(job, own) + again, min(replica.placed_at for replica in own))
    return _devices(asking, cluster)


def turn_on(serving: Sequence[Replica]) -> str:
    """What a job waits for that has engines, which answer others."""
    where = named(replica.group for replica in serving)
    return f"its turn on {count(len(serving), 'replica')} in {where} shared with other jobs"


def to_load(job: Job, own: Sequence[Replica]) -> str:
    """What a job waits for whose engines are being loaded."""
    since = min(replica.placed_at for replica in own)
    words = f"its engine to load in {named(replica.group for replica in own)}, since {at(since)}"
    usual = (job.plan.measured.load_seconds if job.plan.measured else None) or 0.0
    return words if usual < 1 else f"{words}; that took {usual:.0f} s before"


def free_devices(job: Job) -> str:
    """What a job waits for that has no engine."""
    size = f" of {job.plan.memory.card_gib:.1f} GiB" if job.plan.memory else ""
    where = f"group {job.group}" if job.group else "one group"
    return f"{count(job.engine.gpus, 'free device')}{size} in {where}"


def _failed(job: Job, cluster: Cluster) -> str:
    """What became of its engine a moment ago, if that failed."""
    own = [replica for replica in cluster.failed if replica.engine.key == job.engine.key and replica.ended_at]
    if not own:
        return ""
    last = max(own, key=lambda replica: replica.ended_at or replica.placed_at)
    code = f" ({last.error.code})" if last.error else ""
    return f"it failed in {last.group} at {at(last.ended_at or last.placed_at)}{code}"


def _devices(asking: Asking, cluster: Cluster) -> Wait:
    """Free devices, or what must be there first: a worker, its backend, as many devices in one group."""
    job, groups = asking.job, cluster.at(asking.job)
    if job.group and not groups:
        return Wait(Cause.GROUP, f"group {job.group}, of which no worker has reported")
    offering = [group for group in groups if job.engine.backend in group.backends]
    if not offering:
        where = f"group {job.group}" if job.group else "a running group"
        return Wait(Cause.BACKEND, f"the backend {_missing(asking, groups)} in {where}")
    large = [group for group in offering if _holds(group, job) >= job.engine.gpus]
    wanted = free_devices(job)
    if not large:
        most = max(_holds(group, job) for group in offering)
        return Wait(Cause.DEVICES, f"{wanted}, where there are {most} at most", devices=job.engine.gpus)
    running = [group for group in large if group.alive and not group.draining]
    if not running:
        return Wait(Cause.GROUP, _absent(large), _absent_since(large), job.engine.gpus)
    if not cluster.leads:
        words = f"a scheduler to give it {wanted}: {none_leads(cluster.led_at)}"
        return Wait(Cause.SCHEDULER, words, cluster.led_at, job.engine.gpus)
    if failed := _failed(job, cluster):
        wanted += f", to start its engine again: {failed}"
    holders, quota = cluster.holders(running), _quota(job, cluster)
    cause = Cause.QUOTA if asking.by_quota else Cause.DEVICES
    return Wait(cause, wanted, None, job.engine.gpus, holders, quota, asking.kept)


def _quota(job: Job, cluster: Cluster) -> str:
    """What its team's quota is to a job that waits for devices; nothing where it has none."""
    if not (quota := cluster.quotas.get(job.team, 0)):
        return ""
    used = cluster.used_by(job.team)
    told = f"of its team's quota of {count(quota, 'device')} {used} {'is' if used == 1 else 'are'} used"
    if used + job.engine.gpus <= quota:
        return f"; {told}, and what is lent is given back at the end of a chunk"
    return f"; {told}, so that it takes what others leave"


def _holds(group: Group, job: Job) -> int:
    """Devices of the group that are large enough for the job; drained ones may never come back."""
    least = least_bytes(job.plan)
    return sum(_may_hold(device, least) for device in group.devices)


def _may_hold(device: Device, least: int | None) -> bool:
    large = not least or not device.memory_bytes or device.memory_bytes >= least
    return large and device.state is not DeviceState.DRAINED


def _missing(asking: Asking, groups: Sequence[Group]) -> str:
    """The backends that would do, but for those that are there: such a one would serve the job if it could."""
    offered = {name for group in groups if group.alive and not group.draining for name in group.backends}
    others = [name for name in asking.backends if name not in offered]
    return " or ".join(dict.fromkeys((asking.job.engine.backend, *others)))


def _absent(groups: Sequence[Group]) -> str:
    """The groups, each with why it gives nothing out."""
    return " or ".join(f"group {group.name}, {_absence(group)}" for group in groups[:3])


def _absence(group: Group) -> str:
    if group.alive:
        return "which is draining"
    return "whose worker is gone" + (f" since {at(group.heard_at)}" if group.heard_at else "")


def _absent_since(groups: Sequence[Group]) -> datetime | None:
    """When the last of them was lost, where they are all silent."""
    heard = [group.heard_at for group in groups if not group.alive and group.heard_at]
    return max(heard) if len(heard) == len(groups) else None


def reason(job: Job, wait: Wait | None) -> str | None:
    """Why a job is where it is, in words for those who may see it: jobs of other teams are only counted."""
    if wait is None or wait.cause is Cause.USER:
        return job.reason
    told = _told(wait, job.team)
    if job.status is JobStatus.QUEUED and job.reason and job.reason != waiting(job.waits_for):
        return f"{job.reason}; {told}"
    return told


def _told(wait: Wait, team: str) -> str:
    kept = f"; {wait.kept.told(team)}" if wait.kept else ""
    words = f"waiting for {wait.words}{wait.quota}{kept}"
    if wait.cause not in {Cause.DEVICES, Cause.QUOTA, Cause.TURN} or not wait.holders:
        return words
    jobs = dict.fromkeys(served for holder in wait.holders for served in holder.serves)
    seen = [served for served in jobs if served.team == team][:SHOWN]
    others = len(jobs) - len(seen)
    told = [f"job {str(served.id)[:SHORT]}" for served in seen]
    told += [f"{others} {'other job' if others == 1 else 'other jobs'}"] if others else []
    if wait.cause is Cause.TURN:
        return f"{words}, now {', '.join(told)}" if told else words
    held = sum(len(holder.replica.devices) for holder in wait.holders)
    return f"{words}; {held} {'is' if held == 1 else 'are'} held" + (
        f" for {', '.join(told)}" if told else ""
    )


SHOWN = 2
"""Jobs that a reason names."""

SHORT = 13
"""Of an id: the time in it, to the millisecond, as the command shows it."""
