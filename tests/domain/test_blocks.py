"""Which devices a replica gets: those of one island, and none that is too small."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.placement import Demand, Group, Policy, place
from app.domain.replica import Device, DeviceState
from tests.domain.test_placement import NOW, demand, releases, replica, starts

GIB = 2**30


def group(*islands: int | None, gibs: tuple[int, ...] = (), held: tuple[int, ...] = ()) -> Group:
    """Devices of these islands, in their order."""
    devices = tuple(
        Device(
            f"a-{index}",
            index,
            "GPU",
            gibs[index] * GIB if gibs else None,
            DeviceState.HELD if index in held else DeviceState.FREE,
            island=island,
        )
        for index, island in enumerate(islands)
    )
    return Group("a", devices, frozenset({"hf"}))


def block(there: Group, wanted: Demand) -> tuple[int, ...]:
    """The devices of the first replica; none where it waits."""
    first = next(iter(starts(place(NOW, [there], [], [wanted], Policy()))), None)
    return tuple(int(name.removeprefix("a-")) for name in first.devices) if first else ()


@pytest.mark.parametrize(
    ("there", "gpus", "devices"),
    [
        (group(0, 1, 0, 1), 2, (0, 2)),
        (group(0, 1, 1, 0), 2, (1, 2)),
        (group(0, 0, 1, 1, 1, 1), 4, (2, 3, 4, 5)),
        (group(0, 0, 0, 0, 1, 1, 1, 1, held=(1,)), 4, (4, 5, 6, 7)),
        (group(0, 0, 0, 0, 1, 1, 1, 1, held=(1, 5)), 4, (0, 2, 3, 4)),
        (group(0, 0, 0, 0, 1, 1, 1, 1), 8, tuple(range(8))),
        (group(0, 1, 2, 3), 2, (0, 1)),
        (group(None, None, None, None, held=(0,)), 2, (2, 3)),
    ],
)
def test_a_replica_gets_devices_of_one_island_where_it_can(
    there: Group, gpus: int, devices: tuple[int, ...]
) -> None:
    assert block(there, demand("m", gpus=gpus)) == devices


MIXED = group(*[None] * 4, gibs=(22, 22, 40, 40))


@pytest.mark.parametrize(
    ("gib", "gpus", "devices"),
    [(30, 1, (2,)), (30, 2, (2, 3)), (20, 1, (0,)), (0, 4, (0, 1, 2, 3)), (30, 4, ())],
)
def test_no_device_is_given_that_the_plan_does_not_fit(gib: int, gpus: int, devices: tuple[int, ...]) -> None:
    assert block(MIXED, replace(demand("m", gpus=gpus), least_bytes=gib * GIB)) == devices


def test_a_device_of_unknown_size_is_large_enough() -> None:
    assert block(group(None), replace(demand("m"), least_bytes=30 * GIB)) == (0,)


def test_nothing_is_stopped_for_a_device_that_would_be_too_small() -> None:
    there = group(None, None, gibs=(22, 40), held=(0, 1))
    small, large = (replica(demand(name).engine, (name,), idle_minutes=0) for name in ("a-0", "a-1"))
    wanted = replace(demand("new"), least_bytes=30 * GIB)
    decisions = place(NOW, [there], [small, large], [wanted], Policy())
    assert [release.replica for release in releases(decisions)] == [large.id]
