"""The spares of a worker, with real children of the engine that needs no model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from app.backends import BACKENDS, environment_path
from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.replica import Replica, ReplicaStatus
from app.settings import Settings
from tests.faults.cluster import environment
from tests.waiting import until
from workers.engine_child.spare import NAME
from workers.gpu_worker import spares as module
from workers.gpu_worker.group import EngineCommand, GroupDevices
from workers.gpu_worker.spare import Spare
from workers.gpu_worker.spares import SpareEngines
from workers.protocol.engine import BackendImported
from workers.supervision.janitor import SPARE

IDLE_SECONDS = 100.0


class Clock:
    """Goes on, and can be moved: a shim compares with the real one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """A worker's, on a host where nothing is installed."""
    return Settings(
        data_dir=tmp_path / "data",
        EVALQ_CACHE=tmp_path / "cache",
        echo_engine=True,
        spare_engines=True,
        idle_seconds=IDLE_SECONDS,
        worker_group="a",
        worker_devices="cpu:2",
    )


@pytest.fixture
def devices(own: Settings) -> GroupDevices:
    devices = GroupDevices(own)
    assert [report.name for report in devices.installed()] == ["echo"]
    return devices


Make = Callable[[Settings], SpareEngines]


@pytest.fixture
def make(devices: GroupDevices, clock: Clock) -> Iterator[Make]:
    """A worker's spares, which end with the test."""
    made: list[SpareEngines] = []

    def make(settings: Settings) -> SpareEngines:
        made.append(SpareEngines(devices=devices, settings=settings, clock=clock))
        return made[-1]

    yield make
    for spares in made:
        spares.close()


@pytest.fixture
def spares(make: Make, own: Settings) -> SpareEngines:
    return make(own)


def waiting() -> list[psutil.Process]:
    """The spares of this process, that have begun to be such."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if process.is_running() and process.name() == NAME]


def marked() -> list[psutil.Process]:
    """All processes of spares of this process: shims, too."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if environment(process).get(SPARE)]


def ready(spares: SpareEngines) -> bool:
    spares.step()
    return spares.ready == {"echo"}


def a_replica(*devices: str, **spec: object) -> Replica:
    engine = replace(EngineSpec(backend="echo", model="m"), **spec)  # type: ignore[arg-type]
    return Replica(uuid7(), "a", engine, ReplicaStatus.LOADING, devices, placed_at=datetime.now(UTC))


def command_of(devices: GroupDevices, one: Replica) -> EngineCommand:
    return devices.engine_command(replace(one, devices=(devices.reports()[1].id,)))


def test_a_spare_is_taken_once_and_replaced_after_the_load(
    spares: SpareEngines, devices: GroupDevices, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: ready(spares))
    (process,) = waiting()
    one = a_replica()
    spares.begins(one)
    taken = spares.take(one, command_of(devices, one))
    assert taken is not None
    assert taken.child.pid == process.pid
    with taken.child:
        assert spares.take(one, command_of(devices, one)) is None
        with monkeypatch.context() as patch:
            patch.delattr(Spare, "start")
            spares.step()  # while it loads none is started
        spares.loaded(one.id)
        until(lambda: ready(spares))
        assert len(waiting()) == 2


def test_a_spare_that_a_start_would_differ_from_is_not_taken(
    spares: SpareEngines, devices: GroupDevices
) -> None:
    until(lambda: ready(spares))
    plain, odd = a_replica(), a_replica(env={"CPU_SLOTS": "9"})
    spares.begins(odd)
    assert spares.take(odd, command_of(devices, odd)) is None
    other_threads = replace(command_of(devices, plain), env={"OMP_NUM_THREADS": "77"})
    assert spares.take(plain, other_threads) is None
    other_python = replace(command_of(devices, plain), argv=("python",))
    assert spares.take(plain, other_python) is None
    assert spares.ready == {"echo"}, "it waits for another"


def test_a_spare_of_an_environment_that_was_made_anew_is_of_no_use(
    spares: SpareEngines, devices: GroupDevices, own: Settings
) -> None:
    until(lambda: ready(spares))
    (old,) = waiting()
    environment_path("echo", own.cache_dir).mkdir(parents=True)
    (environment_path("echo", own.cache_dir) / ".installed").touch()
    one = a_replica()
    assert spares.take(one, command_of(devices, one)) is None
    spares.step()
    until(lambda: ready(spares) and old not in waiting())


def test_a_spare_that_nobody_used_for_long_ends_and_one_is_there_again_after_a_replica(
    spares: SpareEngines, devices: GroupDevices, clock: Clock
) -> None:
    until(lambda: ready(spares))
    one = a_replica()
    spares.begins(one)
    spares.loaded(one.id)
    clock.ahead += IDLE_SECONDS + 1
    assert ready(spares), "a replica of it lives"
    spares.ended(one.id)
    clock.ahead += IDLE_SECONDS - 1
    assert ready(spares)
    clock.ahead += 2
    spares.step()
    assert spares.ready == set()
    assert marked() == []
    spares.begins(one)
    spares.ended(one.id)
    until(lambda: ready(spares))


def test_a_spare_waits_for_a_core_where_slots_are_cores(spares: SpareEngines) -> None:
    holds_both = a_replica("cpu-0", "cpu-1")
    spares.begins(holds_both)
    spares.loaded(holds_both.id)
    spares.step()
    assert marked() == []
    spares.ended(holds_both.id)
    spares.step()
    assert marked()


def test_one_that_still_imports_is_ended_for_a_start(spares: SpareEngines, devices: GroupDevices) -> None:
    spares.step()
    assert marked()
    one = a_replica()
    spares.begins(one)
    assert spares.take(one, command_of(devices, one)) is None
    assert marked() == []


def test_spares_that_die_are_replaced_with_patience(
    spares: SpareEngines, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for delay in (30, 60, 120):
        until(lambda: ready(spares))
        (process,) = waiting()
        process.kill()
        until(lambda: not marked())
        spares.step()
        assert spares.ready == set()
        clock.ahead += delay - 5
        spares.step()
        assert marked() == [], "not yet"
        clock.ahead += 5
    assert caplog.text.count("a spare of echo failed: it ended with -9") == 3


def test_a_backend_that_cannot_be_imported_is_not_tried_for_ever(
    spares: SpareEngines,
    devices: GroupDevices,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(BACKENDS, "broken", replace(BACKENDS["echo"], name="broken"))
    devices.offered = frozenset({"broken"})
    spares.step()
    until(lambda: spares.step() or "a spare of broken failed" in caplog.text)  # type: ignore[func-returns-value]
    assert "ValueError: no engine for backend 'broken'" in caplog.text
    spares.step()
    assert marked() == []


def test_a_program_that_is_not_there_fails_like_a_spare(
    spares: SpareEngines,
    devices: GroupDevices,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nothing = EngineCommand(("/no/such/python",), {}, "cpu", {})
    monkeypatch.setattr(devices, "spare_command", lambda _: nothing)
    for _ in range(2):
        spares.step()
    assert caplog.text.count("a spare of echo failed: ") == 1


def test_none_is_started_where_that_is_off_and_none_outlives_its_worker(make: Make, own: Settings) -> None:
    off = make(own.model_copy(update={"spare_engines": False}))
    off.step()
    assert marked() == []
    on = make(own)
    until(lambda: ready(on))
    on.close()
    assert marked() == []


def test_a_worker_that_is_frozen_loses_its_spares(
    make: Make, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FENCE_SECONDS", 1.0)
    spares = make(own)
    spares.step()
    assert marked()
    until(lambda: not marked())


def test_a_spare_that_touched_a_device_is_not_used_nor_followed_by_another(
    spares: SpareEngines,
    clock: Clock,
    own: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spares.step()
    lives = a_replica()
    spares.begins(lives)
    spares.loaded(lives.id)
    monkeypatch.setattr(Spare, "hear", lambda _: BackendImported(1.0, touched=True))
    spares.step()
    assert "its import has started the GPU driver" in caplog.text
    monkeypatch.undo()
    clock.ahead += 1e6
    spares.step()
    assert marked() == []
    environment_path("echo", own.cache_dir).mkdir(parents=True)
    (environment_path("echo", own.cache_dir) / ".installed").touch()
    until(lambda: ready(spares))  # what is installed anew may be fit


def test_the_log_of_a_spare_is_its_replicas_from_then_on(
    spares: SpareEngines, devices: GroupDevices, own: Settings, tmp_path: Path
) -> None:
    until(lambda: ready(spares))
    one = a_replica()
    taken = spares.take(one, command_of(devices, one))
    assert taken is not None
    log_path = own.data_dir / "logs" / "replicas" / f"{one.id}.log"
    before = taken.log_path.stat().st_ino
    taken.write_to(log_path)
    assert log_path.stat().st_ino == before
    assert list(log_path.parent.iterdir()) == [log_path]
    taken.write_to(tmp_path / "again.log")
    taken.end()
