"""Placement decides from what it is shown: nothing here touches a database or a clock."""

import random
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.placement import Demand, Group, Policy, Release, Start, place, wanted, widest
from app.domain.replica import Device, DeviceState, Replica, ReplicaStatus

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def group(name: str, devices: int, held: int = 0, **options: Any) -> Group:
    states = [DeviceState.HELD] * held + [DeviceState.FREE] * (devices - held)
    return Group(
        name,
        tuple(Device(f"{name}-{i}", i, "GPU", state=state) for i, state in enumerate(states)),
        frozenset({"hf"}),
        **options,
    )


def engine(model: str, gpus: int = 1) -> EngineSpec:
    return EngineSpec("hf", model, gpus=gpus)


def demand(
    model: str, *, gpus: int = 1, replicas: int | None = 1, priority: int = 50, chunks: int = 10
) -> Demand:
    return Demand(engine(model, gpus), priority, NOW, chunks, 1000.0, replicas)


def replica(spec: EngineSpec, devices: tuple[str, ...], *, idle_minutes: float | None = None) -> Replica:
    idle = NOW - timedelta(minutes=idle_minutes) if idle_minutes is not None else None
    claimed = NOW - timedelta(hours=1)
    return Replica(uuid7(), "a", spec, ReplicaStatus.SERVING, devices, claimed, claimed, claimed, idle)


def starts(decisions: list[Start | Release]) -> list[Start]:
    return [decision for decision in decisions if isinstance(decision, Start)]


def releases(decisions: list[Start | Release]) -> list[Release]:
    return [decision for decision in decisions if isinstance(decision, Release)]


def test_explicit_replicas_are_honoured() -> None:
    decisions = place(NOW, [group("a", 4)], [], [demand("m", replicas=3)], Policy())
    assert len(starts(decisions)) == 3


def sized(name: str, *gibs: int, held: int = 0) -> Group:
    """Devices of so many GiB; 0 for one that says nothing."""
    devices = group(name, len(gibs), held).devices
    known = [replace(d, memory_bytes=gib * 2**30 or None) for d, gib in zip(devices, gibs, strict=True)]
    return replace(group(name, 0), devices=tuple(known))


def needing(gib: int, gpus: int = 1) -> Demand:
    return replace(demand("m", gpus=gpus), least_bytes=gib * 2**30)


def test_an_engine_is_loaded_where_its_devices_are_large_enough() -> None:
    cluster = [sized("small", 24, 24), sized("large", 40, 40, 40, 40)]
    assert starts(place(NOW, cluster, [], [needing(30, gpus=2)], Policy()))[0].group == "large"
    assert place(NOW, cluster, [], [needing(60)], Policy()) == []
    mixed = sized("a", 24, 24, 24, 24, 40, 40)
    assert starts(place(NOW, [mixed], [], [needing(30, gpus=2)], Policy()))[0].devices == ("a-4", "a-5")
    assert place(NOW, [mixed], [], [needing(30, gpus=4)], Policy()) == []
    assert starts(place(NOW, [sized("a", 0)], [], [needing(60)], Policy()))


def test_nobody_gives_way_on_devices_that_are_too_small() -> None:
    idle = replica(engine("other"), ("a-0",), idle_minutes=1)
    mixed = sized("a", 24, 40, held=2)
    assert releases(place(NOW, [mixed], [idle], [needing(30)], Policy())) == []
    assert releases(place(NOW, [mixed], [idle], [needing(20)], Policy()))


def test_a_block_is_aligned() -> None:
    decisions = place(NOW, [group("a", 8, held=1)], [], [demand("m", gpus=4)], Policy())
    assert starts(decisions)[0].devices == ("a-4", "a-5", "a-6", "a-7")


def test_a_warm_replica_is_used_and_no_other_started() -> None:
    warm = replica(engine("m"), ("a-0",), idle_minutes=1)
    assert place(NOW, [group("a", 2, held=1)], [warm], [demand("m")], Policy()) == []


def test_an_idle_replica_yields_to_another_engine_at_once() -> None:
    warm = replica(engine("old"), ("a-0",), idle_minutes=0)
    decisions = place(NOW, [group("a", 1, held=1)], [warm], [demand("new")], Policy())
    assert [item.replica for item in releases(decisions)] == [warm.id]


def test_an_engine_that_is_loading_for_nobody_yields_too() -> None:
    loading = replace(replica(engine("old"), ("a-0",)), status=ReplicaStatus.LOADING, serving_at=None)
    decisions = place(NOW, [group("a", 1, held=1)], [loading], [demand("new")], Policy())
    assert [item.replica for item in releases(decisions)] == [loading.id]


def test_an_engine_keeps_away_from_devices_on_which_it_failed() -> None:
    shy = replace(demand("m"), shunned=frozenset({"a-0"}))
    assert starts(place(NOW, [group("a", 2)], [], [shy], Policy()))[0].devices == ("a-1",)


def test_an_engine_waits_for_devices_on_which_it_has_not_failed() -> None:
    shy = replace(demand("m"), shunned=frozenset({"a-1"}))
    assert place(NOW, [group("a", 2, held=1)], [], [shy], Policy()) == []
    warm = replica(engine("old"), ("a-0",), idle_minutes=0)
    decisions = place(NOW, [group("a", 2, held=1)], [warm], [shy], Policy())
    assert [item.replica for item in releases(decisions)] == [warm.id]
    assert starts(decisions) == []


def test_an_engine_that_failed_everywhere_starts_again_but_only_once() -> None:
    shy = replace(demand("m", replicas=2), shunned=frozenset({"a-0", "a-1"}))
    assert len(starts(place(NOW, [group("a", 2)], [], [shy], Policy()))) == 1


def test_an_engine_that_failed_just_now_rests_on_the_devices_kept_for_it() -> None:
    resting = replace(demand("m", priority=60), resting=True)
    assert place(NOW, [group("a", 1)], [], [resting, demand("other")], Policy()) == []


def test_the_widest_group_is_one_that_takes_work() -> None:
    broken = replace(
        group("b", 8), devices=tuple(Device(f"b-{i}", i, "GPU", state=DeviceState.DRAINED) for i in range(8))
    )
    groups = [group("a", 2), broken, group("c", 8, alive=False), group("d", 8, draining=True), group("e", 4)]
    assert widest(groups, "hf") == 4
    assert widest(groups, "hf", "a") == 2
    assert widest(groups, "vllm") == 0


def test_the_only_busy_replica_of_an_engine_is_not_taken_away() -> None:
    busy = replica(engine("old"), ("a-0",))
    assert place(NOW, [group("a", 1, held=1)], [busy], [demand("old"), demand("new")], Policy()) == []


def test_one_of_several_busy_replicas_gives_way_after_its_hold() -> None:
    busy = [replica(engine("old"), (f"a-{i}",)) for i in range(2)]
    wide = demand("old", replicas=2)
    decisions = place(NOW, [group("a", 2, held=2)], busy, [wide, demand("new")], Policy())
    assert len(releases(decisions)) == 1
    recent = [replace(item, serving_at=NOW) for item in busy]
    assert place(NOW, [group("a", 2, held=2)], recent, [wide, demand("new")], Policy()) == []


def test_a_wide_demand_keeps_free_devices_from_later_ones() -> None:
    busy = replica(engine("busy"), ("a-0",))
    demands = [demand("wide", gpus=2, priority=90), demand("small"), demand("busy")]
    assert starts(place(NOW, [group("a", 2, held=1)], [busy], demands, Policy())) == []


def test_an_idle_replica_is_released_after_its_time() -> None:
    old = replica(engine("m"), ("a-0",), idle_minutes=11)
    young = replica(engine("n"), ("a-1",), idle_minutes=9)
    decisions = place(NOW, [group("a", 2, held=2)], [old, young], [], Policy())
    assert [item.replica for item in releases(decisions)] == [old.id]


def test_a_draining_group_gets_no_work_and_lets_its_replicas_go() -> None:
    busy = replica(engine("m"), ("a-0",))
    decisions = place(
        NOW, [group("a", 2, held=1, draining=True)], [busy], [demand("m", replicas=2)], Policy()
    )
    assert not starts(decisions)
    assert len(releases(decisions)) == 1


def test_a_dead_group_gets_no_work() -> None:
    assert place(NOW, [group("a", 2, alive=False)], [], [demand("m")], Policy()) == []


def test_the_work_decides_how_many_replicas_pay_for_their_load_time() -> None:
    fast = replace(replica(engine("m"), ("a-0",)), cost_per_second=1000.0)
    little, much = (replace(demand("m", replicas=None, chunks=99), waiting_cost=cost) for cost in (1e3, 2e5))
    assert wanted(little, [fast], Policy()) == 1
    assert wanted(much, [fast], Policy()) == 5


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 100)), max_size=6),
)
def test_no_device_is_given_out_twice_and_blocks_are_whole(
    sizes: list[int], wishes: list[tuple[int, int, int]]
) -> None:
    groups = [group(f"g{i}", size) for i, size in enumerate(sizes)]
    demands = [
        demand(f"m{i}", gpus=gpus, replicas=count, priority=priority)
        for i, (gpus, count, priority) in enumerate(wishes)
    ]
    decided = starts(place(NOW, groups, [], demands, Policy()))
    given_out = Counter(device for start in decided for device in start.devices)
    assert all(count == 1 for count in given_out.values())
    assert all(len(start.devices) == start.engine.gpus for start in decided)
    asked = {item.engine.key: item.replicas for item in demands}
    assert all(count <= (asked[key] or 0) for key, count in Counter(s.engine.key for s in decided).items())


def wishing(name: str | None, **more: Any) -> Demand:
    return replace(demand("m", **more), group=name)


def test_a_warm_replica_elsewhere_is_none_for_a_job_that_names_its_group() -> None:
    warm = replica(engine("m"), ("a-0",), idle_minutes=1)
    groups = [group("a", 2, held=1), group("b", 1)]
    assert [start.group for start in starts(place(NOW, groups, [warm], [wishing("b")], Policy()))] == ["b"]
    assert place(NOW, groups, [warm], [wishing("a")], Policy()) == []


def test_a_replica_that_only_another_group_wants_is_idle() -> None:
    warm = replica(engine("m"), ("a-0",), idle_minutes=11)
    decisions = place(NOW, [group("a", 1, held=1), group("b", 1, held=1)], [warm], [wishing("b")], Policy())
    assert [item.replica for item in releases(decisions)] == [warm.id]


def test_one_replica_serves_who_names_its_group_and_who_names_none() -> None:
    decided = place(NOW, [group("a", 2), group("b", 2)], [], [wishing("b"), wishing(None)], Policy())
    assert [start.group for start in starts(decided)] == ["b"]


def test_two_groups_that_are_named_get_a_replica_each() -> None:
    decided = place(NOW, [group("a", 2), group("b", 2)], [], [wishing("b"), wishing("a")], Policy())
    assert sorted(start.group for start in starts(decided)) == ["a", "b"]


def test_replicas_above_a_number_stay_where_another_wish_needs_them() -> None:
    in_a, in_b = replica(engine("m"), ("a-0",)), replace(replica(engine("m"), ("b-0",)), group="b")
    groups = [group("a", 1, held=1), group("b", 1, held=1)]
    decisions = place(NOW, groups, [in_a, in_b], [wishing(None), wishing("b")], Policy())
    assert [item.replica for item in releases(decisions)] == [in_a.id]


def test_the_last_replica_of_a_group_gives_way_to_no_other_engine() -> None:
    in_a, in_b = replica(engine("m"), ("a-0",)), replace(replica(engine("m"), ("b-0",)), group="b")
    groups = [group("a", 1, held=1), group("b", 1, held=1)]
    both = [wishing("a"), wishing("b"), replace(demand("new"), group="b")]
    assert place(NOW, groups, [in_a, in_b], both, Policy()) == []


def test_a_number_beside_a_job_that_leaves_it_open_is_the_least() -> None:
    open_ended = replace(demand("m", replicas=None, chunks=1), least=3)
    assert wanted(open_ended, [], Policy()) == 3


def calls(jobs: int) -> int:
    """Functions that one decision calls, over so many jobs for engines of their own and two fifths as many devices."""
    rng = random.Random(jobs)
    hosts = [group(f"g{number:04}", 8, held=6) for number in range(jobs // 20)]
    demands = [
        replace(
            demand(f"m{number}", gpus=rng.choice([1, 1, 2, 4, 8]), priority=rng.choice([10, 50, 90])),
            turn=number,
            least_bytes=rng.randint(1, 2**40),
        )
        for number in range(jobs)
    ]
    there = [
        replace(replica(each.engine, (f"{host.name}-{place_}",)), group=host.name)
        for host, few in zip(hosts, batched(demands, 6), strict=False)
        for place_, each in enumerate(few)
        if each.engine.gpus == 1
    ]
    count = 0

    def called(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(called)
    try:
        place(NOW, hosts, there, demands, Policy())
    finally:
        sys.setprofile(None)
    return count


def batched(items: list[Demand], size: int) -> list[list[Demand]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def test_a_decision_grows_with_what_there_is_and_not_faster() -> None:
    assert calls(4000) < 2.3 * calls(2000)
