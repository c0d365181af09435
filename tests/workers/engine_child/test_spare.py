"""A spare: what it is before anybody knows for whom, and that what it becomes is what is started cold."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.backends.install import SPARE
from workers.engine_child.spare import NAME, driver_started
from workers.protocol.channel import Channel
from workers.protocol.engine import (
    FROM_SPARE,
    BackendImported,
    EngineRecipe,
    ImportBackend,
    Load,
    Loaded,
    ToEngine,
)

from .supervisor import PATIENCE_SECONDS, Supervisor, engine_child, values

SLOT = {"CPU_SLOTS": "7"}


@contextmanager
def spare(python: str | Path, backend: str) -> Iterator[tuple[Supervisor, BackendImported]]:
    """One that waits, and what it said."""
    with engine_child(python) as child:
        wire: Channel[ToEngine, BackendImported] = Channel(child.connection, FROM_SPARE)
        wire.send(ImportBackend(backend))
        said = wire.receive(PATIENCE_SECONDS)
        assert said is not None
        yield child, said


def loaded(child: Supervisor, backend: str, model: str = "-") -> Loaded:
    child.wire.send(Load(EngineRecipe(backend, model), "cpu", 64, variables=SLOT))
    message = child.receive()
    assert isinstance(message, Loaded), message
    return message


def test_a_spare_waits_under_a_name_of_its_own_and_is_told_its_devices_with_the_model() -> None:
    with spare(sys.executable, "echo") as (child, said):
        assert not said.touched
        process = psutil.Process(child.process.pid)
        assert process.name() == NAME == SPARE
        assert loaded(child, "echo").provenance["devices"] == ["7"]
        assert process.name() != NAME
        assert child.ask("generate_until", ["fine"]).responses


def test_a_spare_ends_where_its_backend_cannot_be_imported() -> None:
    with engine_child(sys.executable) as child:
        child.wire.send(ImportBackend("no-such-backend"))
        assert child.wire.receive(PATIENCE_SECONDS) is None
        assert child.process.wait(PATIENCE_SECONDS) == 1


def test_a_spare_ends_with_its_supervisor() -> None:
    with spare(sys.executable, "echo") as (child, _):
        child.connection.close()
        assert child.process.wait(PATIENCE_SECONDS) == 0


def test_an_engine_is_imported_once() -> None:
    with spare(sys.executable, "echo") as (child, _):
        loaded(child, "echo")
        child.wire.send(ImportBackend("echo"))
        assert child.process.wait(PATIENCE_SECONDS) == 1


def test_a_spare_of_hf_answers_as_an_engine_that_was_started_for_it(
    python: Path, model: Path, engine: Supervisor
) -> None:
    requests = [[[number + 5] * 20, [number + 2]] for number in range(12)]
    with spare(python, "hf") as (child, said):
        assert not said.touched
        message = loaded(child, "hf", str(model))
        assert values(child.ask("loglikelihood", requests)) == values(engine.ask("loglikelihood", requests))
    assert message.provenance.keys() == engine.provenance.keys()
    differ = {name for name, found in message.provenance.items() if engine.provenance[name] != found}
    assert differ <= {"environment"}, "which tells of the host's clocks"


class Driver:
    """CUDA's, as far as it is asked."""

    def __init__(self, status: int) -> None:
        self.cuDeviceGetCount = lambda _: status


@pytest.mark.parametrize(("status", "started"), [(3, False), (0, True), (100, True)])
def test_a_driver_that_was_started_is_seen(
    monkeypatch: pytest.MonkeyPatch, status: int, *, started: bool
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Driver(status))
    assert driver_started() is started


def test_a_library_that_is_not_loaded_has_not_been_started() -> None:
    assert not driver_started("libno-such-driver.so.1")
