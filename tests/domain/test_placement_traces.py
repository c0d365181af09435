"""The rules of placement over whole histories: everybody is served in time, and engines are not loaded for nothing."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.engine_spec import EngineSpec
from app.domain.line import InLine
from app.domain.placement import Claim, Decision, Demand, Group, Policy, Release, Start, place
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from app.domain.virtual_cluster import Pace, Snapshot, VirtualCluster
from app.domain.virtual_work import JobWork, VirtualJob
from tests.domain.test_placement import NOW, group

HOLD = 30.0
LOAD = 3.0
TURN = HOLD
POLICY = Policy(hold=timedelta(seconds=HOLD))
COST = 10.0
"""A second."""


def job(number: int, seconds: float, gpus: int = 1, *, owner: str = "ann", known: bool = True) -> JobWork:
    """A job for an engine of its own, in one-second chunks."""
    line = InLine(UUID(int=number), owner, owner, 50, NOW)
    speed = COST if known else None
    engine = EngineSpec("hf", f"m{number}", gpus=gpus)
    chunks = max(int(seconds), 1)
    demand = Demand(engine, 50, NOW, chunks, COST * seconds, 1, load_seconds=LOAD, speed=speed)
    return JobWork(line, demand, seconds, LOAD)


def run(
    sizes: list[int], jobs: list[tuple[float, JobWork]], until: float = 1e5
) -> tuple[VirtualCluster, list[VirtualJob]]:
    """Each comes after so many seconds."""
    groups = [group(f"g{place}", size) for place, size in enumerate(sizes)]
    cluster = VirtualCluster(Snapshot(NOW, groups, [], POLICY), Pace())
    found = [
        cluster.come(replace(work, line=replace(work.line, since=NOW + timedelta(seconds=after))), after)
        for after, work in jobs
    ]
    cluster.run(20_000, until)
    return cluster, found


WISHES = st.tuples(
    st.integers(0, 200),
    st.integers(1, 150),
    st.sampled_from([1, 1, 2, 4]),
    st.sampled_from("abc"),
    st.booleans(),
)


@settings(max_examples=60)
@given(st.sampled_from([[4], [4, 2], [4, 4, 1]]), st.lists(WISHES, min_size=1, max_size=14))
def test_whatever_comes_ends_within_what_it_takes_one_after_the_other(
    sizes: list[int], wishes: list[tuple[int, int, int, str, bool]]
) -> None:
    """Wide and narrow, short and long, of whom it is known how long they take and of whom it is not."""
    jobs = [
        (float(after), job(number, seconds, gpus, owner=owner, known=known))
        for number, (after, seconds, gpus, owner, known) in enumerate(wishes, 1)
    ]
    cluster, found = run(sizes, jobs)
    work = sum(seconds for _, seconds, *_ in wishes)
    loads = len(jobs) + work / TURN * max(sizes)
    assert all(each.ended is not None for each in found)
    assert max(each.ended or 0.0 for each in found) <= 200 + work + (LOAD + 5.0) * (
        len(jobs) + work / TURN
    ) + TURN * len(jobs)
    assert cluster.loads <= loads


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_a_wide_job_is_not_starved_by_narrow_ones(gpus: int, known: bool) -> None:
    """Of one owner, who sends more narrow ones than the devices can do, for ever."""
    rng = random.Random(gpus)
    narrow = [(4.0 * n, job(n, rng.randint(20, 60), known=known, owner="many")) for n in range(1, 150)]
    wide = (100.0, job(1000, 50, gpus, known=known, owner="lone"))
    _, found = run([8], [*narrow, wide], until=500)
    assert found[-1].began is not None
    assert found[-1].began < 100 + 2 * (60 + TURN + LOAD)


def test_narrow_jobs_are_not_starved_by_wide_ones() -> None:
    wide = [(5.0 * n, job(n, 100, 4, owner="many")) for n in range(1, 100)]
    _, found = run([4], [*wide, (100.0, job(1000, 10, owner="lone"))], until=500)
    assert found[-1].began is not None
    assert found[-1].began < 100 + 2 * (TURN + LOAD + 5)


def test_a_short_job_waits_for_a_turn_and_not_for_the_long_one() -> None:
    cluster, (long, short) = run([1], [(0.0, job(1, 600)), (10.0, job(2, 5))])
    assert (short.ended or 1e9) < LOAD + TURN + 20
    assert (long.ended or 1e9) < 600 + 5 + 3 * LOAD + 20
    assert cluster.loads == 3


def test_long_jobs_of_equal_owners_take_turns_that_are_longer_than_loads() -> None:
    cluster, found = run([1], [(0.0, job(1, 900, owner="ann")), (1.0, job(2, 900, owner="bob"))])
    assert all(each.ended for each in found)
    assert cluster.loads * (LOAD + 3) < 0.25 * 1800


Drawn: TypeAlias = tuple[list[list[DeviceState]], list[tuple[int, int | None, int, bool, str | None]], int]
"""States of devices, wishes, and a seed for the rest."""

STATES = st.sampled_from(
    [
        DeviceState.FREE,
        DeviceState.FREE,
        DeviceState.HELD,
        DeviceState.HELD,
        DeviceState.DIRTY,
        DeviceState.DRAINED,
    ]
)
SEEN = st.tuples(
    st.lists(st.lists(STATES, min_size=1, max_size=8), min_size=1, max_size=3),
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.sampled_from([None, 1, 3]),
            st.integers(0, 2),
            st.booleans(),
            st.sampled_from([None, "g0"]),
        ),
        max_size=8,
    ),
    st.integers(0, 2**16),
)


def seen(drawn: Drawn) -> tuple[list[Group], list[Replica], list[Demand]]:
    """A cluster at work: some replicas serve a demand, some load, some nobody wants."""
    states, wishes, seed = drawn
    rng = random.Random(seed)
    demands = [
        Demand(
            EngineSpec("hf", f"m{number}", gpus=gpus), 50 + 10 * priority, NOW, 9, rng.uniform(1, 1e4), replicas,
            group=where, turn=rng.randint(0, 5), speed=COST if known else None,
            claims=(Claim(UUID(int=number), rng.choice("xyz"), "ann", 50, 0, 1.0),),
        )
        for number, (gpus, replicas, priority, known, where) in enumerate(wishes)
    ]  # fmt: skip
    groups, replicas = [], []
    for place_, each in enumerate(states):
        devices = list(group(f"g{place_}", len(each)).devices)
        for index, state in enumerate(each):
            devices[index] = replace(devices[index], state=state)
            if state is DeviceState.HELD:
                replicas.append(_held(devices[index].id, f"g{place_}", rng, demands))
        groups.append(Group(f"g{place_}", tuple(devices), frozenset({"hf"})))
    return groups, replicas, demands


def _held(device: str, where: str, rng: random.Random, demands: list[Demand]) -> Replica:
    narrow = [each.engine for each in demands if each.engine.gpus == 1]
    engine = rng.choice([*narrow, EngineSpec("hf", "unwanted")])
    then = NOW - timedelta(seconds=rng.randint(0, 300))
    loaded = rng.random() < 0.8
    status = ReplicaStatus.SERVING if loaded else ReplicaStatus.LOADING
    return Replica(
        UUID(int=rng.getrandbits(64)), where, engine, status, (device,), then, then, then if loaded else None,
        release_requested_at=NOW if rng.random() < 0.2 else None,
    )  # fmt: skip


POLICIES = st.sampled_from([POLICY, replace(POLICY, quotas={"x": 2, "y": 1})])


@given(SEEN, POLICIES, st.randoms(use_true_random=False))
def test_decisions_do_not_depend_on_the_order_of_what_is_told(
    drawn: Drawn, policy: Policy, rng: random.Random
) -> None:
    groups, replicas, demands = seen(drawn)
    first = place(NOW, groups, replicas, demands, policy)
    for some in (groups, replicas, demands):
        rng.shuffle(some)
    assert place(NOW, groups, replicas, demands, policy) == first


@given(SEEN, POLICIES)
def test_only_what_is_free_is_given_and_only_who_lives_is_released(drawn: Drawn, policy: Policy) -> None:
    groups, replicas, demands = seen(drawn)
    decisions = place(NOW, groups, replicas, demands, policy)
    free = {d.id for each in groups for d in each.devices if d.state is DeviceState.FREE}
    given_out = Counter(device for each in decisions if isinstance(each, Start) for device in each.devices)
    assert set(given_out) <= free
    assert all(count == 1 for count in given_out.values())
    released = [each.replica for each in decisions if isinstance(each, Release)]
    assert len(released) == len(set(released))
    assert set(released) <= {each.id for each in replicas if not each.release_requested_at}


@given(SEEN, POLICIES)
def test_decisions_that_are_carried_out_come_to_an_end(drawn: Drawn, policy: Policy) -> None:
    """Until something ends, or time passes, there is soon nothing more to do."""
    groups, replicas, demands = seen(drawn)
    for _ in range(5):
        decisions = place(NOW, groups, replicas, demands, policy)
        if not decisions:
            return
        groups, replicas = _carried_out(groups, replicas, decisions)
    assert decisions == []


def _carried_out(
    groups: list[Group], replicas: list[Replica], decisions: list[Decision]
) -> tuple[list[Group], list[Replica]]:
    released = {each.replica for each in decisions if isinstance(each, Release)}
    there = [replace(each, release_requested_at=NOW) if each.id in released else each for each in replicas]
    taken: set[str] = set()
    for number, each in enumerate(decisions):
        if isinstance(each, Start):
            taken.update(each.devices)
            there.append(
                Replica(
                    UUID(int=2**100 + 2**20 * len(replicas) + number),
                    each.group,
                    each.engine,
                    ReplicaStatus.PLACED,
                    each.devices,
                    NOW,
                )
            )
    held = [
        replace(
            each,
            devices=tuple(replace(d, state=DeviceState.HELD) if d.id in taken else d for d in each.devices),
        )
        for each in groups
    ]
    return held, there
