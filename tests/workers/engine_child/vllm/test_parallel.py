"""vLLM over two ranks: the same answers, and every rank's end known."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.workers.engine_child.supervisor import values
from workers.containment.bounds import own_bytes
from workers.containment.shared_memory import ROOM
from workers.protocol.engine import Died, Loaded, LoadFailed

from .production import Engine, vllm_engine

pytestmark = pytest.mark.slow

PAIRS = [[[0, 5, 6, 7], [8]], [[0, 5, 6], [7, 8]], [[0, 9], [10]]]


def scores(engine: Engine) -> list[float]:
    return [score for score, _ in values(engine.line.ask("loglikelihood", PAIRS))]


def left(engine: Engine, segments: set[str], processes: dict[str, int]) -> list[str]:
    """What is there of it once it is gone."""
    assert engine.child.wait_gone(20)
    shared = [name for name in segments if (ROOM / name).exists()]
    living = [name for name, pid in processes.items() if own_bytes(pid)]
    return [*shared, *living, *(["folder"] if engine.folder.exists() else [])]


def test_two_ranks_answer_as_one_does_and_each_is_watched(tmp_path: Path) -> None:
    with vllm_engine() as engine:
        assert isinstance(engine.load(tmp_path), Loaded)
        alone = scores(engine)
    with vllm_engine() as engine:
        loaded = engine.load(tmp_path, ranks=2)
        assert isinstance(loaded, Loaded), loaded
        assert loaded.provenance["tensor_parallel_size"] == 2
        assert scores(engine) == pytest.approx(alone, abs=1e-4)
        processes, segments = engine.processes(), engine.segments()
        engine.work()
        os.kill(processes["Worker_TP1"], signal.SIGKILL)
        assert engine.last() == [Died("Worker_TP1", -signal.SIGKILL)]
        assert left(engine, segments, processes) == []


@pytest.mark.parametrize("victim", ["EngineCore", "Worker"])
def test_one_that_is_killed_while_it_loads_is_known(tmp_path: Path, victim: str) -> None:
    with vllm_engine() as engine:
        engine.send_load(tmp_path, ranks=2)
        engine.wait_for(victim)
        processes, segments = engine.processes(), engine.segments()
        name = next(each for each in processes if each.startswith(victim))
        os.kill(processes[name], signal.SIGKILL)
        said = engine.last()
        assert len(said) == 1
        assert isinstance(said[0], Died | LoadFailed)
        assert left(engine, segments, processes) == []


@pytest.mark.parametrize("name", ["child", "shim"])
def test_whoever_else_is_killed_takes_all_along(tmp_path: Path, name: str) -> None:
    with vllm_engine() as engine:
        assert isinstance(engine.load(tmp_path), Loaded)
        processes, segments = engine.processes(), engine.segments()
        engine.work()
        os.kill(engine.child.pid if name == "child" else os.getsid(engine.child.pid), signal.SIGKILL)
        assert left(engine, segments, processes) == []
