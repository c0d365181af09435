"""Timelines of GPU groups: what each device did, does and will do, in percent of a window around now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.dashboard.views.devices import (
    DeviceLine,
    counted,
    device_line,
    drained_words,
    engine_words,
    kind_of_devices,
    memory_of,
)
from app.dashboard.views.naming import short
from app.dashboard.views.timeline import ROW, STEP_SECONDS, LaneBar, LaneSpan, drawn, merged, on_rows
from app.dashboard.words import DOT, range_of
from app.domain.estimates import Estimates
from app.domain.forecast import Forecast
from app.domain.group import GroupView
from app.domain.job import JobStatus, Phase
from app.domain.occupancy import MOST, Occupant, Occupied
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from app.domain.waits import Cause
from app.services.groups import GroupState
from app.services.queue import Waiting

OTHERS = "a job of another team"
ON_ENGINES = {Cause.LOADING, Cause.TURN}
"""What a job waits for that has engines: they are drawn themselves."""


@dataclass(frozen=True)
class Lane:
    """A group as it is drawn."""

    name: str
    what: str
    words: str
    draining: str | None
    silent: bool
    memory: str
    devices: Sequence[DeviceLine]
    bars: Sequence[LaneBar]

    @property
    def count(self) -> int:
        """Of its devices."""
        return len(self.devices)

    @property
    def height(self) -> int:
        """Pixels."""
        return ROW * (len(self.devices) + 1)


@dataclass(frozen=True)
class Seen:
    """What is drawn beside the groups, as one reader may see it."""

    occupied: Sequence[Occupied]
    waiting: Sequence[Waiting]
    estimates: Estimates
    sees: str | None
    idle: timedelta
    """How long an engine stays warm."""

    def may_see(self, team: str) -> bool:
        """Whether jobs of a team are named to the reader."""
        return self.sees in {None, team}


def lanes(
    groups: Sequence[GroupState], seen: Seen, span: LaneSpan, alive: Callable[[GroupView], bool]
) -> list[Lane]:
    """Every group with the bars of its devices."""
    return [_lane(state.group, seen, span, alive(state.group)) for state in groups]


def _lane(group: GroupView, seen: Seen, span: LaneSpan, alive: bool) -> Lane:
    live = [each for each in seen.occupied if each.replica.status.live and each.replica.group == group.name]
    replicas = {each.replica.id: each.replica for each in live}
    return Lane(
        name=group.name,
        what=f"{group.host} {DOT} {kind_of_devices(group)}",
        words=counted([group], replicas),
        draining=drained_words(group, span.now),
        silent=not alive,
        memory=memory_of(group),
        devices=[device_line(device, replicas) for device in group.devices],
        bars=merged(list(_bars(group, seen, span))),
    )


def _bars(group: GroupView, seen: Seen, span: LaneSpan) -> Iterable[LaneBar]:
    rows = {device.id: row for row, device in enumerate(group.devices)}
    for each in seen.occupied:
        if each.replica.group == group.name:
            bars = _replica_bars(each, seen, span)
            yield from (placed for bar in bars for placed in on_rows(bar, each.replica.devices, rows))
    for waiting in seen.waiting:
        if bar := _planned(waiting, seen, span):
            yield from on_rows(bar, waiting.estimate.devices if waiting.estimate else (), rows)
    for row, device in enumerate(group.devices):
        if device.state is DeviceState.DRAINED:
            text = device.reason or "out of service"
            yield drawn(LaneBar("foreign", text, span.now, span.end, row), span)


def _replica_bars(each: Occupied, seen: Seen, span: LaneSpan) -> list[LaneBar]:
    replica = each.replica
    if not replica.status.live:
        return [_ended(each, seen, span)]
    if replica.status is ReplicaStatus.SERVING and replica.idle_since and not replica.early:
        return [_ended(each, seen, span, replica.idle_since), _warm(each, seen, span, replica.idle_since)]
    return [_running(each, seen, span)]


def _warm(each: Occupied, seen: Seen, span: LaneSpan, since: datetime) -> LaneBar:
    model = short(each.replica.engine.model) if _any_seen(each.jobs, seen) else "an engine"
    until = max(since + seen.idle, span.now)
    return drawn(LaneBar("warm", f"{model} stays loaded", since, until), span)


def _ended(each: Occupied, seen: Seen, span: LaneSpan, until: datetime | None = None) -> LaneBar:
    replica = each.replica
    kind, text = "past", _names(each.jobs, seen)
    mine = not each.jobs or _any_seen(each.jobs, seen)
    if mine and replica.status in {ReplicaStatus.FAILED, ReplicaStatus.LOST}:
        kind = "failed"
        text += f": {replica.error.code}" if replica.error and each.jobs else ""
    elif mine and len(each.jobs) == 1 and each.jobs[0].status in _TOLD:
        kind = each.jobs[0].status
    end = until or replica.ended_at or span.now
    return drawn(
        _loaded(LaneBar(kind, text, replica.placed_at, end, href=_href(each, seen)), replica, span), span
    )


_TOLD = {JobStatus.PARTIALLY_FAILED, JobStatus.FAILED, JobStatus.CANCELLED}


def _running(each: Occupied, seen: Seen, span: LaneSpan) -> LaneBar:
    replica, jobs = each.replica, [job for job in each.jobs if job.ended_at is None]
    mine = [job for job in jobs if seen.may_see(job.team)]
    told = _last_end([seen.estimates.of(job.id, span.now) for job in jobs])
    left = f" {DOT} {range_of(told.end_low, told.end_high)} left" if told and told.end_high else ""
    bar = LaneBar(
        "running",
        _early(replica) if replica.early and not jobs else _names(jobs, seen) + _percent(mine),
        replica.placed_at,
        span.now + timedelta(seconds=max(told.end or 0.0 if told else 0.0, STEP_SECONDS)),
        sub=f"{engine_words(replica.engine)}{left}" if mine else "",
        href=_href(Occupied(replica, tuple(jobs)), seen),
        early=_in(told.end_low, span) if told and mine else None,
        late=_in(told.end_high, span) if told and mine else None,
    )
    return drawn(_loaded(bar, replica, span), span)


def _early(replica: Replica) -> str:
    return f"{'loaded' if replica.status is ReplicaStatus.SERVING else 'loading'} early for a job in line"


def _in(seconds: float | None, span: LaneSpan) -> datetime | None:
    return None if seconds is None else span.now + timedelta(seconds=seconds)


def _any_seen(jobs: Sequence[Occupant], seen: Seen) -> bool:
    return any(seen.may_see(job.team) for job in jobs)


def _loaded(bar: LaneBar, replica: Replica, span: LaneSpan) -> LaneBar:
    """How much of the bar, as it is drawn, is loading, and how much work up to now."""
    begin, end = max(bar.begin, span.begin), min(bar.end, span.end)
    whole = max((end - begin).total_seconds(), 1.0)
    loaded = min(max(replica.serving_at or min(span.now, end), begin), end)
    load = 100 * (loaded - begin).total_seconds() / whole
    done = 100 * (min(span.now, end) - loaded).total_seconds() / whole
    return replace(bar, load=round(load, 2), done=round(max(done, 0.0), 2))


def _last_end(told: Iterable[Forecast | None]) -> Forecast | None:
    known = [each for each in told if each and each.end is not None]
    return max(known, key=lambda each: each.end or 0.0, default=None)


def _planned(waiting: Waiting, seen: Seen, span: LaneSpan) -> LaneBar | None:
    """What is foreseen of a job that waits; nothing where that is not known, or beyond the window."""
    told, job, mine = waiting.estimate, waiting.job, seen.may_see(waiting.job.team)
    begin = _in(told.start or None, span) if told else None
    if told is None or begin is None or begin >= span.end or waiting.wait.cause in ON_ENGINES:
        return None
    bar = LaneBar(
        "waiting",
        (job.name or short(job.engine.model)) if mine else OTHERS,
        begin,
        max(_in(told.end, span) or begin, begin + timedelta(minutes=1)),
        sub=engine_words(job.engine) if mine else "",
        href=f"/jobs/{job.id}" if mine else None,
        early=_in(told.end_low, span),
        late=_in(told.end_high, span),
    )
    return drawn(bar, span)


def _names(jobs: Sequence[Occupant], seen: Seen) -> str:
    mine = [job for job in jobs if seen.may_see(job.team)]
    if not jobs:
        return "no job"
    if not mine:
        return OTHERS if len(jobs) == 1 else f"{len(jobs)} jobs of other teams"
    first = mine[-1].name or short(mine[-1].model)
    others = f"{len(jobs) - 1} more" if len(jobs) < MOST else "others"
    return first if len(jobs) == 1 else f"{first} and {others}"


def _percent(jobs: Sequence[Occupant]) -> str:
    loading = all(job.phase in {Phase.LOADING, Phase.WAITING_FOR_GPU} for job in jobs)
    if not jobs or loading or any(job.requests_total is None for job in jobs):
        return ""
    total = sum(job.requests_total or 0 for job in jobs)
    return f" {DOT} {100 * sum(job.requests_done for job in jobs) / total:.1f} %" if total else ""


def _href(each: Occupied, seen: Seen) -> str | None:
    mine = [job for job in each.jobs if seen.may_see(job.team)]
    return f"/jobs/{mine[-1].id}" if mine else None
