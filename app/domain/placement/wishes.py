"""The demands in line, and what is known of each in this turn."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import TypeAlias

from app.domain.placement.values import Demand, Group, Policy
from app.domain.replica import Replica, ReplicaStatus

Kind: TypeAlias = tuple[str, str | None, int, int]
"""Demands of one kind fit on the same devices: what one of them did not find those behind it do not find either."""

TOO_LARGE = 2**63
"""Bytes, of which no device that tells its size has so many."""


@dataclass(eq=False, slots=True)
class Wish:
    """A demand in its place."""

    demand: Demand
    need: int
    """Devices of one replica."""
    least: int
    """Memory that each must have."""
    on: Kind
    """What it needs of devices, whatever it shuns."""
    kind: Kind | None = None
    """None for one that shuns devices: it is alone with that."""
    plain: int = 0
    """Its place in line; equal ones share it."""
    entitled: int = 0
    """Of its replicas, so many are its teams' by quota."""
    replicas: Sequence[Replica] = ()
    """Those that serve it and stay."""
    coming: int = 0
    """Those that are started for it in this turn."""
    outcast: bool = False
    """It failed on every device that it could have."""

    def seconds(self) -> float | None:
        """What it still takes on one replica."""
        speed = self.demand.speed
        return self.demand.waiting_cost / speed if speed else None

    def first_seconds(self) -> float | None:
        """What the first of its jobs still takes on one replica."""
        speed, claims = self.demand.speed, self.demand.claims
        cost = claims[0].cost if claims else self.demand.waiting_cost
        return cost / speed if speed else None

    def load(self, policy: Policy) -> float:
        """Seconds until a replica that is started for it works."""
        known = self.demand.load_seconds
        return policy.load.total_seconds() if known is None else known

    @property
    def served(self) -> int:
        """Replicas that it has or gets."""
        return len(self.replicas) + self.coming


def place_in_line(demand: Demand) -> tuple[object, ...]:
    """Who is served first, and among equals always the same one: who names a group before who may go anywhere."""
    group = demand.group
    return (-demand.priority, demand.turn, demand.since, demand.engine.key, group is None, group or "")


def wishes(demands: Sequence[Demand], groups: Sequence[Group]) -> list[Wish]:
    """In line, quotas aside."""
    sizes = device_sizes(groups)
    line = [wish_of(demand, sizes) for demand in sorted(demands, key=place_in_line)]
    for before, wish in pairwise(line):
        wish.plain = before.plain + (not _equals(before.demand, wish.demand))
    return line


def _equals(one: Demand, other: Demand) -> bool:
    return one.turn == other.turn and one.priority == other.priority and one.since == other.since


def device_sizes(groups: Sequence[Group]) -> list[int]:
    """Bytes of memory that there are devices of, the smallest first."""
    return sorted({d.memory_bytes for group in groups for d in group.devices if d.memory_bytes})


def wish_of(demand: Demand, sizes: Sequence[int]) -> Wish:
    """One demand, outside of any line."""
    engine, least = demand.engine, 0
    if demand.least_bytes:
        larger = bisect_left(sizes, demand.least_bytes)
        least = sizes[larger] if larger < len(sizes) else TOO_LARGE
    on = (engine.backend, demand.group, engine.gpus, least)
    return Wish(demand, engine.gpus, least, on, None if demand.shunned else on)


def wishes_of(replica: Replica, by_engine: Mapping[str, Sequence[Wish]]) -> list[Wish]:
    """Who wants the replica."""
    known = by_engine.get(replica.engine.key, ())
    return [wish for wish in known if wish.demand.group in (None, replica.group)]


def wanted(demand: Demand, replicas: Sequence[Replica], policy: Policy) -> int:
    """How many replicas the work pays for: each must save more than its own loading time."""
    if demand.replicas is not None:
        return demand.replicas
    return max(demand.least, _paid_for(demand, replicas, policy))


def _paid_for(demand: Demand, replicas: Sequence[Replica], policy: Policy) -> int:
    speed = demand.speed or _mean_speed(replicas)
    if not speed:
        busy = sum(replica.status is ReplicaStatus.SERVING for replica in replicas)
        return max(1, min(demand.waiting_chunks, 2 + busy))
    load = policy.load.total_seconds() if demand.load_seconds is None else demand.load_seconds
    return max(1, min(demand.waiting_chunks, ceil(demand.waiting_cost / speed / max(2 * load, 1.0))))


def _mean_speed(replicas: Sequence[Replica]) -> float | None:
    speeds = [replica.cost_per_second for replica in replicas if replica.cost_per_second]
    return sum(speeds) / len(speeds) if speeds else None
