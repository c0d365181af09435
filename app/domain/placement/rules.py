"""Which replicas to start and which to release: a pure function, driven by the scheduler and by tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil
from uuid import UUID

from app.domain.blocks import block
from app.domain.placement.values import Decision, Demand, Group, Policy, Release, Start
from app.domain.replica import Device, DeviceState, Replica, ReplicaStatus


@dataclass
class _Board:
    """What is still free while the demands are served one after the other."""

    now: datetime
    policy: Policy
    replicas: Sequence[Replica]
    demands: Sequence[Demand]
    free: dict[str, list[Device]]
    decisions: list[Decision] = field(default_factory=list)
    going: set[UUID] = field(default_factory=set)


def place(
    now: datetime,
    groups: Sequence[Group],
    replicas: Sequence[Replica],
    demand: Sequence[Demand],
    policy: Policy,
) -> list[Decision]:
    """Serve demands by priority, then in line; a demand that must wait keeps its block from later ones."""
    live = [replica for replica in replicas if replica.status.live]
    board = _Board(
        now,
        policy,
        live,
        sorted(demand, key=lambda item: (-item.priority, item.turn, item.since)),
        {group.name: _free(group) for group in groups if group.alive and not group.draining},
        going={replica.id for replica in live if replica.release_requested_at},
    )
    for group in groups:
        if group.draining:
            _release(board, [r for r in live if r.group == group.name], "its group is draining")
    usable_by = [
        (item, [group for group in groups if group.name in board.free and _usable(group, item)])
        for item in board.demands
    ]
    for item, usable in usable_by:
        if not _replicas_of(board, item) and not _starts_of(board, item):
            _start_or_reserve(board, item, usable)
    for item, usable in usable_by:
        _widen(board, item, usable)
    _release_idle(board)
    return board.decisions


def widest(groups: Sequence[Group], backend: str, name: str | None = None) -> int:
    """Devices of the largest group that takes work for a backend; drained ones may never come back."""
    usable = (
        g for g in groups if g.alive and not g.draining and backend in g.backends and name in (None, g.name)
    )
    return max((sum(d.state is not DeviceState.DRAINED for d in g.devices) for g in usable), default=0)


def wanted(demand: Demand, replicas: Sequence[Replica], policy: Policy) -> int:
    """How many replicas the work pays for: each must save more than its own loading time."""
    if demand.replicas is not None:
        return demand.replicas
    return max(demand.least, _paid_for(demand, replicas, policy))


def _paid_for(demand: Demand, replicas: Sequence[Replica], policy: Policy) -> int:
    busy = sum(1 for replica in replicas if replica.status is ReplicaStatus.SERVING)
    speeds = [replica.cost_per_second for replica in replicas if replica.cost_per_second]
    if not speeds:
        return max(1, min(demand.waiting_chunks, 2 + busy))
    seconds = demand.waiting_cost * len(speeds) / sum(speeds)
    return max(1, min(demand.waiting_chunks, ceil(seconds / max(2 * policy.load.total_seconds(), 1.0))))


def _free(group: Group) -> list[Device]:
    return [
        device for device in sorted(group.devices, key=lambda d: d.index) if device.state is DeviceState.FREE
    ]


def _usable(group: Group, demand: Demand) -> bool:
    return (
        demand.group in (None, group.name)
        and demand.engine.backend in group.backends
        and sum(map(demand.fits, group.devices)) >= demand.engine.gpus
    )


def _replicas_of(board: _Board, demand: Demand) -> list[Replica]:
    return [r for r in board.replicas if demand.serves(r) and r.id not in board.going]


def _starts_of(board: _Board, demand: Demand) -> int:
    """What was decided to be started in this turn and will serve the demand."""
    starts = (decision for decision in board.decisions if isinstance(decision, Start))
    return sum(
        start.engine.key == demand.engine.key and demand.group in (None, start.group) for start in starts
    )


def _demands_for(board: _Board, replica: Replica) -> list[Demand]:
    return [demand for demand in board.demands if demand.serves(replica)]


def _open(board: _Board, group: Group, demand: Demand) -> list[Device]:
    """What is free for this demand."""
    free = board.free[group.name]
    return [device for device in free if device.id not in demand.shunned and demand.fits(device)]


def _start(board: _Board, demand: Demand, usable: Sequence[Group]) -> bool:
    for group in sorted(usable, key=lambda group: len(board.free[group.name])):
        found = None if demand.resting else block(_open(board, group, demand), demand.engine.gpus)
        if found:
            for device in found:
                board.free[group.name].remove(device)
            board.decisions.append(Start(group.name, tuple(device.id for device in found), demand.engine))
            return True
    return False


def _start_or_reserve(board: _Board, demand: Demand, usable: Sequence[Group]) -> None:
    """Start the first replica, or make room for it and keep the room free for it."""
    if not any(_has_others(group, demand) for group in usable):
        demand = replace(demand, shunned=frozenset())
    if _start(board, demand, usable) or not usable:
        return
    group = max(
        usable,
        key=lambda group: len(_open(board, group, demand)) + len(_yielding(board, group, demand)),
    )
    short = demand.engine.gpus - len(_open(board, group, demand)) - _already_going(board, group, demand)
    for replica in _yielding(board, group, demand):
        if short <= 0:
            break
        _release(board, [replica], f"{demand.engine.model} waits for its devices")
        short -= len(_large(group, demand).intersection(replica.devices))
    reserved = sorted(_open(board, group, demand), key=lambda device: device.index)[: demand.engine.gpus]
    for device in reserved:
        board.free[group.name].remove(device)


def _has_others(group: Group, demand: Demand) -> bool:
    """Whether the group has a block that the engine has not failed on, free or not."""
    others = [d for d in group.devices if d.state is not DeviceState.DRAINED and d.id not in demand.shunned]
    return sum(map(demand.fits, others)) >= demand.engine.gpus


def _already_going(board: _Board, group: Group, demand: Demand) -> int:
    """Devices that would do and are on their way out of somebody's hands."""
    going = (r for r in board.replicas if r.group == group.name and r.id in board.going)
    return sum(len(_large(group, demand).intersection(replica.devices)) for replica in going)


def _large(group: Group, demand: Demand) -> set[str]:
    return {device.id for device in group.devices if demand.fits(device)}


def _yielding(board: _Board, group: Group, demand: Demand) -> list[Replica]:
    """Who gives way, most willing first: those nobody wants at once, busy ones with company after their hold."""
    large = _large(group, demand)
    here = [r for r in board.replicas if r.group == group.name and r.id not in board.going]
    mine = [r for r in here if large.intersection(r.devices)]
    starting = {ReplicaStatus.PLACED, ReplicaStatus.LOADING}
    idle = [r for r in mine if not _demands_for(board, r) and (r.idle_since or r.status in starting)]
    busy = [
        r
        for r in mine
        if r.engine.key != demand.engine.key
        and r not in idle
        and all(len(_replicas_of(board, each)) > 1 for each in _demands_for(board, r))
        and r.claimed_at
        and board.now - r.claimed_at >= board.policy.hold
    ]
    return sorted(idle, key=lambda r: r.idle_since or board.now) + busy[:1]


def _widen(board: _Board, demand: Demand, usable: Sequence[Group]) -> None:
    """Add replicas while the work pays for them, and let go of those above the number asked for."""
    mine, starting = _replicas_of(board, demand), _starts_of(board, demand)
    target = wanted(demand, mine, board.policy)
    if demand.replicas is not None and len(mine) > target:
        spare = [r for r in mine if _demands_for(board, r) == [demand]]
        _release(board, spare[-(len(mine) - target) :], f"{target} replicas were asked for")
    if not mine and not starting:
        return
    for _ in range(target - len(mine) - starting):
        if not _start(board, demand, usable):
            return


def _release_idle(board: _Board) -> None:
    idle = [
        r
        for r in board.replicas
        if not _demands_for(board, r)
        and r.status is ReplicaStatus.SERVING
        and r.idle_since
        and board.now - r.idle_since >= board.policy.idle
    ]
    _release(board, idle, "idle")


def _release(board: _Board, replicas: Sequence[Replica], why: str) -> None:
    for replica in replicas:
        if replica.id not in board.going:
            board.going.add(replica.id)
            board.decisions.append(Release(replica.id, why))
