"""Engines that load before their jobs have requests: in nobody's way, and given back when somebody has some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import uuid7
from app.domain.placement import Decision, Demand, EarlyWish, Group, Policy, Release, place
from app.domain.replica import DeviceState, Replica, ReplicaStatus
from tests.domain.test_placement import NOW, demand, engine, group, releases, replica, starts

JOB = UUID(int=1)
POLICY = Policy()


def early(
    model: str, *, gpus: int = 1, job: UUID = JOB, may_start: bool = True, only: str | None = None
) -> EarlyWish:
    asked = Demand(engine(model, gpus), 50, NOW, 0, group=only)
    return EarlyWish(job, asked, may_start)


def loading(model: str, devices: tuple[str, ...], job: UUID | None = JOB) -> Replica:
    """An engine that loads; early, where a job is named."""
    spec = engine(model, len(devices))
    return Replica(uuid7(), "a", spec, ReplicaStatus.LOADING, devices, NOW, NOW, early_for=job)


def decide(
    groups: Sequence[Group], there: Sequence[Replica], asked: Sequence[Demand], wishes: Sequence[EarlyWish]
) -> list[Decision]:
    return place(NOW, groups, there, asked, POLICY, early=wishes)


def test_an_engine_loads_before_its_job_has_requests() -> None:
    (start,) = starts(decide([group("a", 2)], [], [], [early("m", gpus=2)]))
    assert (start.group, start.devices, start.early_for) == ("a", ("a-0", "a-1"), JOB)


def test_one_engine_serves_all_jobs_that_will_want_it_and_a_warm_one_is_enough() -> None:
    both = [early("m"), early("m", job=UUID(int=2))]
    assert len(decide([group("a", 2)], [], [], both)) == 1
    warm = replica(engine("m"), ("a-0",), idle_minutes=1)
    assert decide([group("a", 2, held=1)], [warm], [], both) == []
    elsewhere = [early("m", only="b")]
    assert len(starts(decide([group("a", 2, held=1), group("b", 1)], [warm], [], elsewhere))) == 1


def test_jobs_are_served_in_the_order_in_which_they_are_told() -> None:
    (start,) = starts(decide([group("a", 1)], [], [], [early("first"), early("second", job=UUID(int=2))]))
    assert start.engine.model == "first"


def test_only_free_devices_are_taken() -> None:
    idle = replica(engine("old"), ("a-0",), idle_minutes=1)
    assert decide([group("a", 1, held=1)], [idle], [], [early("m")]) == []


def test_nothing_is_taken_that_somebody_waits_for() -> None:
    busy = replica(engine("busy"), ("a-1",))
    line = [demand("busy"), demand("wide", gpus=2)]
    assert starts(decide([group("a", 2, held=1)], [busy], line, [early("m")])) == []
    there = [group("a", 2, held=1), group("b", 1)]
    assert [start.group for start in starts(decide(there, [busy], line, [early("m")]))] == ["b"]


def test_devices_that_somebody_shuns_for_now_are_not_taken_either() -> None:
    shy = replace(demand("shy"), shunned=frozenset({"a-0"}), resting=True)
    held = replica(engine("busy"), ("a-1",))
    assert starts(decide([group("a", 2, held=1)], [held], [demand("busy"), shy], [early("m")])) == []


def test_whoever_has_requests_gets_the_devices_at_once_though_the_engine_loads() -> None:
    there = loading("m", ("a-0",))
    (release,) = decide([group("a", 1, held=1)], [there], [demand("new")], [early("m")])
    assert isinstance(release, Release)
    ordinary = replace(there, early_for=None)
    busy = [demand("m"), demand("new")]
    assert decide([group("a", 1, held=1)], [ordinary], busy, []) == []


def test_it_goes_when_its_job_does_not_need_it_unless_another_one_will() -> None:
    there, held = loading("m", ("a-0",)), [group("a", 1, held=1)]
    assert releases(decide(held, [there], [], []))
    other = early("m", job=UUID(int=2), may_start=False)
    assert decide(held, [there], [], [other]) == []
    assert decide(held, [replace(there, requests_done=1)], [], []) == []


def test_with_the_first_chunk_it_is_an_engine_like_any_other() -> None:
    there, held = loading("m", ("a-0",)), [group("a", 1, held=1)]
    assert decide(held, [there], [demand("m"), demand("new")], []) == []


def test_it_waits_for_a_slow_preparation_longer_than_idle_engines_do_but_not_for_ever() -> None:
    for minutes, kept in ((5, True), (11, False)):
        waits = replace(replica(engine("m"), ("a-0",), idle_minutes=minutes), early_for=JOB)
        found = place(
            NOW, [group("a", 1, held=1)], [waits], [], Policy(idle=timedelta(0)), early=[early("m")]
        )
        assert (found == []) == kept


MODELS = st.sampled_from("pqrs")
WIDTHS = st.sampled_from([1, 1, 2, 4])
ASKED = st.lists(st.tuples(MODELS, WIDTHS, st.integers(0, 3), st.integers(1, 3)), max_size=6)
EARLY = st.lists(st.tuples(st.sampled_from("pqxyz"), WIDTHS), max_size=6)
THERE = st.lists(
    st.tuples(st.sampled_from("pqxyz"), WIDTHS, st.sampled_from(["busy", "idle", "early"])), max_size=5
)


def cluster(sizes: list[int], wanted: list[tuple[str, int, str]]) -> tuple[list[Group], list[Replica]]:
    """Groups with as many of these replicas as they have devices for."""
    groups, there = [], []
    for place_, size in enumerate(sizes):
        devices = list(group(f"g{place_}", size).devices)
        at = 0
        while wanted and at + wanted[0][1] <= size:
            model, width, kind = wanted.pop(0)
            names = tuple(device.id for device in devices[at : at + width])
            found = replace(
                replica(engine(model, width), names, idle_minutes=None if kind == "busy" else 1),
                group=f"g{place_}",
                early_for=JOB if kind == "early" else None,
            )
            there.append(found)
            for number in range(at, at + width):
                devices[number] = replace(devices[number], state=DeviceState.HELD, replica_id=found.id)
            at += width
        groups.append(replace(group(f"g{place_}", 0), devices=tuple(devices)))
    return groups, there


def carried_out(
    groups: list[Group], there: list[Replica], decisions: list[Decision]
) -> tuple[list[Group], list[Replica]]:
    """The cluster a moment later: engines load, and those that were asked to go are about to."""
    gone = {each.replica for each in decisions if isinstance(each, Release)}
    there = [replace(each, release_requested_at=NOW) if each.id in gone else each for each in there]
    for start in starts(decisions):
        new = Replica(
            uuid7(),
            start.group,
            start.engine,
            ReplicaStatus.LOADING,
            start.devices,
            NOW,
            NOW,
            early_for=start.early_for,
        )
        there = [*there, new]
        groups = [
            replace(
                each,
                devices=tuple(
                    replace(d, state=DeviceState.HELD) if d.id in start.devices else d for d in each.devices
                ),
            )
            for each in groups
        ]
    return groups, there


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), THERE, ASKED, EARLY)
def test_who_has_requests_is_served_as_if_nobody_began_early(
    sizes: list[int],
    there: list[tuple[str, int, str]],
    asked: list[tuple[str, int, int, int]],
    wishes: list[tuple[str, int]],
) -> None:
    """Nothing that they start or have leave is another; begun early is what is free and what none of them could use."""
    groups, replicas = cluster(sizes, list(there))
    line = [
        replace(demand(model, gpus=width, replicas=count), turn=turn, claims=())
        for turn, (model, width, _, count) in enumerate(asked)
    ]
    expected = [
        early(model, gpus=width, job=UUID(int=number)) for number, (model, width) in enumerate(wishes, 2)
    ]
    kept = [replace(each, may_start=False) for each in expected]
    alone = decide(groups, replicas, line, kept)
    decisions = decide(groups, replicas, line, expected)
    begun = [start for start in starts(decisions) if start.early_for]
    assert [each for each in decisions if each not in begun] == alone
    free = {d.id for each in groups for d in each.devices if d.state is DeviceState.FREE}
    taken = [name for start in starts(decisions) for name in start.devices]
    assert len(set(taken)) == len(taken)
    assert set(taken) <= free
    assert len({(start.engine.key) for start in begun}) == len(begun)
    later = carried_out(groups, replicas, decisions)
    new = {each.id for each in later[1]} - {each.id for each in replicas}
    assert not {each.replica for each in releases(decide(*later, line, expected))} & new, (
        "nobody waits for these"
    )
    assert not [each for each in starts(decide(*later, line, expected)) if each.early_for]
