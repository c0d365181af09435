"""A decision grows with what waits and what runs, not with their product."""

from __future__ import annotations

import sys
from datetime import timedelta
from types import FrameType
from uuid import UUID

from app.domain.engine_spec import EngineSpec
from app.domain.placement import Decision, Demand, Group, Policy, place
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from tests.domain.test_placement import NOW, group, releases

LONG_AGO = NOW - timedelta(hours=1)


def demand(turn: int, gpus: int) -> Demand:
    return Demand(EngineSpec("hf", f"m{turn}", gpus=gpus), 50, NOW, 9, 1e4, turn=turn, speed=10.0)


def cost(groups: list[Group], there: list[Replica], demands: list[Demand]) -> tuple[list[Decision], int]:
    """The decisions, and how many functions were called for them."""
    calls = 0

    def count(_frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        decisions = place(NOW, groups, there, demands, Policy())
    finally:
        sys.setprofile(before)
    return decisions, calls


def taken_over(hosts: int) -> int:
    """What it costs that wide replicas on so many hosts all go for others, of all widths, that are ahead in line."""
    widths = (1, 4, 2, 1)
    ahead = [demand(turn, widths[turn % 4]) for turn in range(2 * hosts)]
    behind = [demand(turn, 4) for turn in range(2 * hosts, 4 * hosts)]
    there = [
        Replica(
            UUID(int=number), f"g{number // 2}", each.engine, ReplicaStatus.SERVING,
            tuple(f"g{number // 2}-{number % 2 * 4 + place}" for place in range(4)), LONG_AGO, LONG_AGO, LONG_AGO,
        )
        for number, each in enumerate(behind)
    ]  # fmt: skip
    groups = [group(f"g{host}", 8, held=8) for host in range(hosts)]
    assert all(d.state is DeviceState.HELD for each in groups for d in each.devices)
    decisions, calls = cost(groups, there, [*ahead, *behind])
    assert len(releases(decisions)) >= hosts
    return calls


def test_many_that_give_way_at_once_cost_each_as_much_as_few() -> None:
    assert taken_over(200) < 5 * taken_over(50)
