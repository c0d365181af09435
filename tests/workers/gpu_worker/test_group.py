"""The keeper of a group goes on whatever happens to one of its turns."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.backends import BACKENDS, Backend
from app.backends.tolerances import keep
from app.db.capacity import CapacityRepository
from app.domain.group import BackendReport
from app.domain.replica import DeviceState
from app.errors import (
    DatabaseError,
    DatabaseRefusedError,
    DatabaseUnreachableError,
    GpuUnavailableError,
    LeaseLostError,
)
from app.gpus.cpu import cpu_name
from app.settings import Settings
from tests.domain.test_tolerance import FOUND
from tests.waiting import until
from tests.world import World
from workers.gpu_worker.group import DIRTY_SECONDS, GroupDevices, GroupKeeper


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def devices(settings: Settings) -> GroupDevices:
    return GroupDevices(settings.model_copy(update={"worker_group": "a", "worker_devices": "cpu:1"}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leaving() -> threading.Event:
    return threading.Event()


@pytest.fixture
def keeper(world: World, devices: GroupDevices, clock: Clock, leaving: threading.Event) -> GroupKeeper:
    return GroupKeeper(
        groups=world.groups,
        serving=world.serving,
        devices=devices,
        leaving=leaving,
        clock=clock,
    )


def device(world: World) -> tuple[str, str | None]:
    """The state of the only device, and why."""
    (state,) = world.groups.all()
    (found,) = state.group.devices
    return found.state, found.reason


def test_memory_that_comes_free_a_moment_later_is_waited_for(
    world: World, devices: GroupDevices, keeper: GroupKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = iter([False, False, True])
    monkeypatch.setattr(devices, "is_clean", lambda _: next(seen))
    keeper.settle()
    assert device(world) == (DeviceState.FREE, None)


def test_a_device_that_stays_in_use_is_drained_and_comes_back(
    world: World, devices: GroupDevices, keeper: GroupKeeper, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "is_clean", lambda _: False)
    assert keeper.beat_once()
    clock.now = DIRTY_SECONDS - 1
    assert keeper.beat_once()
    assert device(world)[0] == DeviceState.DIRTY
    clock.now = DIRTY_SECONDS
    assert keeper.beat_once()
    assert device(world) == (DeviceState.DRAINED, "memory in use though no replica holds it")
    monkeypatch.setattr(devices, "is_clean", lambda _: True)
    assert not keeper.beat_once()
    assert device(world) == (DeviceState.FREE, None)


TROUBLES = [
    RuntimeError("a folder that cannot be read"),
    DatabaseUnreachableError("it is stopped"),
    DatabaseRefusedError("it refused what was to be stored", "no such column"),
    GpuUnavailableError("NVML does not answer"),
    LeaseLostError("another worker has the group"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: type(trouble).__name__)
def test_a_keeper_survives_whatever_happens_to_a_turn(
    devices: GroupDevices,
    keeper: GroupKeeper,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: Exception,
) -> None:
    turns: list[str] = []

    def installed() -> list[BackendReport]:
        turns.append("asked")
        if len(turns) == 1:
            raise trouble
        return [BackendReport("hf")]

    monkeypatch.setattr(devices, "installed", installed)
    stop = threading.Event()
    keeping = threading.Thread(target=keeper.run, args=(stop, 0.01))
    keeping.start()
    try:
        until(lambda: len(turns) > 2)
        assert keeping.is_alive()
    finally:
        stop.set()
        keeping.join()
    assert (trouble.details if isinstance(trouble, DatabaseError) else str(trouble)) in caplog.text


def test_a_group_whose_worker_leaves_is_left_once(
    world: World, keeper: GroupKeeper, leaving: threading.Event
) -> None:
    leaving.set()
    for _ in range(2):
        assert not keeper.beat_once()
    with world.sessions.begin() as session:
        (group,) = CapacityRepository(session).groups(timedelta(minutes=1))
    assert not group.alive


def test_a_replica_is_given_an_engine_that_sees_its_slot_alone(
    world: World, settings: Settings, keeper: GroupKeeper, devices: GroupDevices
) -> None:
    keeper.beat_once()
    (state,) = world.groups.all()
    lease = world.replica(state.group.devices[0].id)
    (state,) = world.groups.all()
    assert state.replicas[0].id == lease.id
    command = devices.engine_command(state.replicas[0])
    assert (command.device, command.driver, command.env["CPU_SLOTS"]) == ("cpu", {}, "0")
    assert command.argv[-1].endswith("bootstrap.py")


def offered(settings: Settings) -> set[str]:
    return {report.name for report in GroupDevices(settings).installed()}


def test_a_group_offers_what_runs_on_its_devices_and_may_be_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, kind in (("for-gpus", "cuda"), ("for-slots", "cpu")):
        monkeypatch.setitem(BACKENDS, name, Backend(name, (name,), devices=frozenset({kind})))
    owned = settings.model_copy(update={"worker_devices": "cpu:1", "echo_engine": False})
    allowing = owned.model_copy(update={"echo_engine": True})
    assert {"for-slots"} == {"for-gpus", "for-slots"} & offered(owned)
    assert "echo" not in offered(owned)
    assert "echo" in offered(allowing)


def test_devices_are_called_what_their_tolerances_are(settings: Settings, tmp_path: Path) -> None:
    own = {"worker_group": "a", "worker_devices": "cpu:1", "cache_dir": tmp_path, "echo_engine": True}
    found = replace(FOUND, backend="echo", device=cpu_name(), versions={})
    keep(found, tmp_path)
    told = {report.name: report for report in GroupDevices(settings.model_copy(update=own)).installed()}
    assert told["echo"].tolerances == (found,)
