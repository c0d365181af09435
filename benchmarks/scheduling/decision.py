"""How long one decision takes, with so many queued jobs that each need another engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random

from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.placement import Claim, Demand, Group, Policy, Start, place
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from benchmarks.scheduling.traces import NOW, Mix, drawn


class Held(StrEnum):
    """Who has the GPUs."""

    NOBODY = "all free"
    FIRST = "all held"
    """Those that are first in line."""
    LAST = "all change hands"
    """Those that are last in line, and have had their turn: as many as can are released."""


def milliseconds(jobs: int, gpus: int, held: Held, rounds: int = 9) -> float:
    """Of processor time, the best of several."""
    random = Random(jobs)  # noqa: S311
    demands = [_demand(number, random.choice((1, 1, 2, 4, 8))) for number in range(jobs)]
    groups = drawn("empty", Mix(gpus, 1), 0).groups
    replicas: list[Replica] = []
    if held is not Held.NOBODY:
        starts = [each for each in place(NOW, groups, [], demands, Policy()) if isinstance(each, Start)]
        replicas = [_serving(start) for start in starts]
        groups = [_held(group, {device for start in starts for device in start.devices}) for group in groups]
    if held is Held.LAST:
        demands = [replace(each, turn=(each.turn + jobs // 2) % jobs) for each in demands]
    now = NOW + timedelta(minutes=10)
    return min(_once(now, groups, replicas, demands) for _ in range(rounds)) * 1000


def _once(
    now: datetime, groups: Sequence[Group], replicas: Sequence[Replica], demands: Sequence[Demand]
) -> float:
    begun = time.process_time()
    place(now, groups, replicas, demands, Policy())
    return time.process_time() - begun


def _demand(number: int, gpus: int) -> Demand:
    claim = Claim(uuid7(), "t", f"o{number % 50}", 50, number, 1e5)
    engine = EngineSpec("hf", f"m{number}", gpus=gpus)
    engine.key  # noqa: B018
    return Demand(engine, 50, NOW, 100, 1e5, turn=number, claims=(claim,), load_seconds=30.0, speed=100.0)


def _serving(start: Start) -> Replica:
    return Replica(uuid7(), start.group, start.engine, ReplicaStatus.SERVING, start.devices, NOW, NOW, NOW)


def _held(group: Group, ids: set[str]) -> Group:
    devices = tuple(replace(d, state=DeviceState.HELD) if d.id in ids else d for d in group.devices)
    return replace(group, devices=devices)
