"""What engines measured is kept by engine and kind of device, for plans; what lies is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db import engine_measures
from app.db.engine_measures import EngineMeasureRepository
from app.domain.chunk import Room
from app.domain.group import DeviceReport
from app.domain.lease import Lease
from app.domain.measures import LoadMeasure, Measured, Placed
from app.errors import LeaseLostError
from app.services.retention import Ages, Kept, RetentionService
from app.services.serving import Answer
from app.settings import Settings
from tests.world import ENGINE, World

NAME = "of the engine"
H100 = Placed("H100")
SOME = LoadMeasure(weights_bytes=13e9, other_bytes=1e9, cache_tokens=1000, seconds=40)


def loaded(world: World, device: str, measured: LoadMeasure = SOME, group: str = "a") -> Lease:
    replica = world.replica(device, group)
    world.serving.loaded(replica, {}, measured, NAME)
    return replica


def recalled(world: World, name: str = NAME) -> list[Measured]:
    with world.sessions.begin() as session:
        return sorted(EngineMeasureRepository(session).recall(name), key=lambda found: found.placed.kind)


def test_what_a_load_measured_is_there_for_the_next_plan(world: World) -> None:
    loaded(world, world.devices(1)[0])
    assert recalled(world) == [Measured(H100, 1, SOME)]
    assert recalled(world, "another") == []


def test_one_engine_on_two_kinds_of_devices_is_measured_apart(world: World) -> None:
    loaded(world, world.devices(1)[0])
    world.groups.register(
        name="b",
        host="node2",
        kind="gpu",
        backends=["hf"],
        version="0",
        reports=[DeviceReport("L4-0", 0, "L4")],
    )
    world.mark("L4-0")
    loaded(world, "L4-0", LoadMeasure(weights_bytes=7e9), "b")
    assert [(found.placed.kind, found.load.weights_bytes) for found in recalled(world)] == [
        ("H100", 13e9),
        ("L4", 7e9),
    ]


def test_the_account_of_a_replica_tells_its_speed(world: World) -> None:
    replica = loaded(world, world.devices(1)[0])
    world.running(chunks=1)
    (claimed,) = world.serving.next(replica, ENGINE.key, Room(1e9, 1)).chunks
    world.serving.answer(replica, claimed, Answer([b"a", b"b"], 4.0, 100, peak_bytes=15e9))
    (found,) = recalled(world)
    assert (found.requests_per_second, found.tokens_per_second) == (0.5, 25.0)
    assert (found.load.peak_bytes, found.load.weights_bytes) == (15e9, 13e9)


def test_telling_it_twice_changes_nothing(world: World) -> None:
    replica = loaded(world, world.devices(1)[0])
    world.serving.loaded(replica, {}, LoadMeasure(weights_bytes=1.0), NAME)
    assert recalled(world) == [Measured(H100, 1, SOME)]


@pytest.mark.parametrize(("measured", "name"), [(None, None), (LoadMeasure(), NAME), (SOME, None)])
def test_who_measures_nothing_leaves_nothing(
    world: World, measured: LoadMeasure | None, name: str | None
) -> None:
    world.serving.loaded(world.replica(world.devices(1)[0]), {}, measured, name)
    assert recalled(world) == []


def test_a_worker_without_its_lease_keeps_nothing(world: World) -> None:
    replica = world.replica(world.devices(1)[0])
    world.expire(replica)
    with pytest.raises(LeaseLostError):
        world.serving.loaded(replica, {}, SOME, NAME)
    assert recalled(world) == []


def test_rows_that_lie_tell_nothing(world: World) -> None:
    loaded(world, world.devices(1)[0])
    with world.sessions.begin() as session:
        lies = (
            '{"weights_bytes": -5, "other_bytes": 1e300, "cache_tokens": "many", "seconds": null, "new": [1]}'
        )
        session.execute(text("UPDATE engine_measures SET measures = CAST(:lies AS jsonb)"), {"lies": lies})
    assert recalled(world) == [Measured(H100, 1, LoadMeasure())]


def test_of_many_loads_the_newest_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_measures, "MOST_LOADS", 2)
    for number, device in enumerate(world.devices(4), 1):
        loaded(world, device, LoadMeasure(seconds=number))
    (found,) = recalled(world)
    assert (found.loads, found.load.seconds) == (2, 3.5)


def test_old_loads_go_with_old_jobs(world: World, settings: Settings) -> None:
    for device in world.devices(2):
        loaded(world, device)
    with world.sessions.begin() as session:
        session.execute(
            text(
                "UPDATE engine_measures SET loaded_at = '2020-01-01'"
                " WHERE ctid IN (SELECT ctid FROM engine_measures LIMIT 1)"
            )
        )
    service, ages = (
        RetentionService(sessions=world.sessions, settings=settings),
        Ages(jobs=timedelta(days=30)),
    )
    counted = [step for step in service.sweep(ages, dry_run=True) if step[1]]
    assert counted == [step for step in service.sweep(ages) if step[1]] == [(Kept.MEASURES, 1)]
    assert recalled(world) == [Measured(H100, 1, SOME)]
