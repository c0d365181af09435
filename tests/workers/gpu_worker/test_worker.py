"""A replica from its claim to its end, with a child of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psutil
import pytest
from sqlalchemy import text

from app.errors import DatabaseUnreachableError, GpuUnavailableError, LeaseLostError
from app.settings import Settings
from tests.faults.cluster import environment
from tests.waiting import until
from tests.workers.gpu_worker.peer import chunk_rows, give_payloads
from tests.world import World
from workers.gpu_worker.group import EngineCommand
from workers.gpu_worker.spare import Spare
from workers.gpu_worker.worker import ReplicaSupervisor

ROOT = Path(__file__).parents[3]
ENGINE = Path(__file__).with_name("small_engine.py")


class Devices:
    """A group that starts this command for any replica."""

    def __init__(self, *argv: str, error: Exception | None = None) -> None:
        self._argv = argv
        self._error = error

    def engine_command(self, _: object) -> EngineCommand:
        if self._error:
            raise self._error
        return EngineCommand(self._argv, {"PYTHONPATH": str(ROOT)}, "cpu", {})


class Spares:
    """A worker's, which has this one."""

    def __init__(self, spare: Spare | None = None) -> None:
        self._spare = spare
        self.told: list[str] = []

    def begins(self, _: object) -> None:
        self.told.append("begins")

    def take(self, *_: object) -> Spare | None:
        return self._spare

    def loaded(self, _: object) -> None:
        self.told.append("loaded")

    def ended(self, _: object) -> None:
        self.told.append("ended")


class Worker:
    """One that runs replicas in a thread."""

    def __init__(
        self, world: World, settings: Settings, devices: Devices, spares: Spares | None = None
    ) -> None:
        self.stopping = threading.Event()
        quick = settings.model_copy(update={"poll_seconds": 0.02, "lease_seconds": 6.0})
        self._supervisor = ReplicaSupervisor(
            serving=world.serving,
            devices=cast(Any, devices),
            spares=cast(Any, spares or Spares()),
            settings=quick,
            stopping=self.stopping,
        )
        self._pool = ThreadPoolExecutor(1)

    def run(self, replica_id: UUID) -> None:
        """Run it to its end."""
        self._pool.submit(self._supervisor.run, replica_id, "worker").result(60)

    def begin(self, replica_id: UUID) -> threading.Event:
        """Begin to run it; what is set when it has ended."""
        over = threading.Event()
        self._pool.submit(self._supervisor.run, replica_id, "worker").add_done_callback(lambda _: over.set())
        return over


def engine(then: str) -> Devices:
    return Devices(sys.executable, str(ENGINE), then)


def ended(world: World) -> Sequence[Any]:
    """How the replica ended."""
    with world.sessions.begin() as session:
        return session.execute(
            text("SELECT status, error ->> 'code', error ->> 'message' FROM replicas")
        ).one()


def test_a_replica_serves_until_its_worker_leaves(world: World, settings: Settings) -> None:
    world.running(chunks=3)
    worker = Worker(world, settings, engine("answer"))
    over = worker.begin(world.placed(*world.devices(1)))
    until(lambda: {row[0] for row in chunk_rows(world, "status")} == {"answered"})
    worker.stopping.set()
    assert over.wait(60)
    assert ended(world) == ("released", None, None)


def test_a_replica_that_somebody_has_is_left_alone(world: World, settings: Settings) -> None:
    (device,) = world.devices(1)
    lease = world.replica(device)
    Worker(world, settings, engine("answer")).run(lease.id)
    assert ended(world)[0] == "loading"


TROUBLES = {
    "no such program": Devices("/no/such/python"),
    "no driver": Devices(error=GpuUnavailableError("NVML does not answer")),
}


@pytest.mark.parametrize("devices", TROUBLES.values(), ids=TROUBLES)
def test_a_replica_whose_engine_cannot_be_started_has_failed(
    world: World, settings: Settings, devices: Devices
) -> None:
    Worker(world, settings, devices).run(world.placed(*world.devices(1)))
    status, code, message = ended(world)
    assert (status, code) == ("failed", "engine_start_failed")
    assert message.startswith("the engine could not be started: ")


def test_what_a_dead_engine_had_in_work_waits_as_suspects(world: World, settings: Settings) -> None:
    world.running(chunks=3)
    give_payloads(world)
    Worker(world, settings, engine("die")).run(world.placed(*world.devices(1)))
    assert ended(world)[:2] == ("failed", "engine_died")
    assert chunk_rows(world, "status", "suspect") == [("waiting", True)] * 3


def test_a_replica_whose_lease_is_lost_kills_its_engine_though_its_supervisor_hangs(
    world: World, settings: Settings
) -> None:
    world.running(chunks=1)
    placed = world.placed(*world.devices(1))
    over = Worker(world, settings, engine("wait")).begin(placed)
    until(lambda: [row[0] for row in chunk_rows(world, "status")] == ["claimed"])
    assert engines(placed)
    with world.sessions.begin() as session:
        session.execute(text("LOCK TABLE chunks IN ACCESS EXCLUSIVE MODE"))
        until(lambda: waits_for_a_lock(world))
        with world.sessions.begin() as other:
            other.execute(text("UPDATE replicas SET lease_token = gen_random_uuid()"))
        until(lambda: not engines(placed))
        assert not over.is_set()
    assert over.wait(60)
    assert ended(world)[0] == "serving", "nothing was written"
    assert chunk_rows(world, "status", "failures", "interruptions") == [("claimed", 0, 0)]


def waits_for_a_lock(world: World) -> bool:
    """Whether somebody does."""
    with world.sessions.begin() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def engines(replica_id: UUID) -> list[psutil.Process]:
    """The replica's processes."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if environment(process).get("EVALQ_REPLICA") == str(replica_id)]


@pytest.fixture
def spare(settings: Settings) -> Iterator[Spare]:
    """One that waits."""
    command = engine("answer").engine_command(None)
    started = Spare.start("echo", command, settings, "worker")
    yield started
    started.end()


def test_a_spare_serves_a_replica_that_notes_it(world: World, settings: Settings, spare: Spare) -> None:
    world.running(chunks=3)
    spares = Spares(spare)
    worker = Worker(world, settings, Devices("/no/such/python"), spares)
    replica_id = world.placed(*world.devices(1))
    over = worker.begin(replica_id)
    until(lambda: {row[0] for row in chunk_rows(world, "status")} == {"answered"})
    worker.stopping.set()
    assert over.wait(60)
    assert ended(world)[0] == "released"
    assert world.serving.is_over(str(spare.id))
    assert not spare.child.alive
    assert (settings.data_dir / "logs" / "replicas" / f"{replica_id}.log").is_file()
    assert spares.told == ["begins", "loaded", "ended"]


def test_a_spare_that_dies_when_it_is_used_is_a_start_that_failed(
    world: World, settings: Settings, spare: Spare
) -> None:
    spare.child.kill()
    spares = Spares(spare)
    Worker(world, settings, Devices("/no/such/python"), spares).run(world.placed(*world.devices(1)))
    assert ended(world)[:2] == ("failed", "engine_start_failed")
    assert spares.told == ["begins", "ended"]


def test_a_spare_is_told_of_no_device_that_is_not_its_replicas_any_more(
    world: World, settings: Settings, spare: Spare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.serving, "take_spare", raising(LeaseLostError("lost")))
    Worker(world, settings, engine("answer"), Spares(spare)).run(world.placed(*world.devices(1)))
    assert ended(world)[0] == "lost"
    assert not spare.child.alive


def test_a_spare_that_cannot_be_noted_is_not_used(
    world: World, settings: Settings, spare: Spare, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.running(chunks=1)
    monkeypatch.setattr(world.serving, "take_spare", raising(DatabaseUnreachableError("away")))
    worker = Worker(world, settings, engine("answer"), Spares(spare))
    over = worker.begin(world.placed(*world.devices(1)))
    until(lambda: {row[0] for row in chunk_rows(world, "status")} == {"answered"})
    worker.stopping.set()
    assert over.wait(60)
    assert ended(world)[0] == "released"
    assert not spare.child.alive


def raising(error: Exception) -> Callable[..., None]:
    """What fails so whenever it is called."""

    def fail(*_: object) -> None:
        raise error

    return fail
