"""How long one decision takes, with so many queued jobs that each need another engine."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from random import Random

from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.placement import Claim, Demand, Group, Policy, Start, place
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from benchmarks.scheduling.traces import NOW, Mix, drawn


def milliseconds(jobs: int, gpus: int, *, full: bool, rounds: int = 5) -> float:
    """The median; all GPUs are free, or all are held by engines that serve others of the jobs."""
    random = Random(jobs)  # noqa: S311
    demands = [_demand(number, random.choice((1, 1, 2, 4, 8))) for number in range(jobs)]
    groups = drawn("empty", Mix(gpus, 1), 0).groups
    replicas: list[Replica] = []
    if full:
        starts = [each for each in place(NOW, groups, [], demands, Policy()) if isinstance(each, Start)]
        replicas = [_serving(start) for start in starts]
        groups = [_held(group, {device for start in starts for device in start.devices}) for group in groups]
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        place(NOW, groups, replicas, demands, Policy())
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


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
