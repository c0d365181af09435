"""From an order to what is stored, with the echo engine in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.backends.tolerances import folder_of, keep, kept
from app.domain.engine_spec import EngineSpec, Scoring
from app.domain.tolerance import Gap
from app.errors import ToleranceError
from app.gpus.cpu import UNKNOWN, cpu_name
from app.gpus.naming import OwnedDevice
from app.gpus.nvml import Gpu
from app.settings import Settings
from tests.domain.test_tolerance import FOUND
from tests.faults.model import make_model
from tests.waiting import until
from workers.gpu_worker.group import GroupDevices
from workers.tolerance import run
from workers.tolerance.engine import measured_engine
from workers.tolerance.gaps import Scored
from workers.tolerance.order import ToleranceOrder
from workers.tolerance.run import alone, device_of, measured


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_model(tmp_path_factory.mktemp("measured") / "model"))


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Of a host that has measured nothing yet."""
    where = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache", "worker_devices": "cpu:1"}
    return Settings().model_copy(update={**where, "worker_group": "tolerance", "echo_engine": True})


def ordered(model: str, **args: Any) -> ToleranceOrder:
    return ToleranceOrder(backend="echo", model=model, devices="cpu:1", args=args, documents=12)


def measure(order: ToleranceOrder, own: Settings) -> Any:
    def start(spec: EngineSpec) -> Any:
        return measured_engine(spec, GroupDevices(own), own)

    return measured(order, own, start, lambda _: None)


def test_an_engine_that_answers_alike_both_ways_has_no_gap(model: str, own: Settings) -> None:
    found = measure(replace(ordered(model), accept=True), own)
    assert (found.fast, found.noise) == (Gap(0.0, 0, 0), Gap(0.0, 0, 0))
    assert (found.documents, found.requests, found.model) == (12, 48, model)
    assert (found.device, found.accepted) == (cpu_name(), True)
    keep(found, own.cache_dir)
    assert kept("echo", own.cache_dir) == [found]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"longest": 8, "max_length": 9}, "estimated maximum model length is 8"),
        ({"fails_with": "ecc"}, "memory is faulty"),
        ({"fails_with": "nccl", "fails_while": "answering"}, "NCCL|Nccl|nccl"),
        ({"max_model_len": 7}, "a choice alone has"),
    ],
)
def test_an_engine_that_fails_is_told_in_its_words(
    model: str, own: Settings, args: dict[str, Any], words: str
) -> None:
    with pytest.raises(ToleranceError, match=words):
        measure(ordered(model, **args), own)
    assert kept("echo", own.cache_dir) == []


class Scripted:
    """Answers by the way it scores, and otherwise every other time."""

    def __init__(self, mode: Scoring) -> None:
        self.provenance = {"dtype": "bfloat16", "model_runner": "v2", "max_length": 512}
        self._shift = 0.25 if mode is Scoring.FAST else 0.0
        self._asked = 0

    def ask(self, documents: Sequence[Any], per_chunk: int) -> tuple[list[Scored], float]:
        self._asked += 1
        noise = 0.125 if self._asked == 3 else 0.0  # the second time, after what warms it up
        shift = noise + self._shift
        asked: list[Scored] = [
            [(-float(sum(tokens)) - shift, False) for _, tokens in each] for each in documents
        ]
        return asked, 2.0 / self._asked


def test_fast_is_compared_with_stock_and_stock_with_itself(model: str, own: Settings) -> None:
    @contextmanager
    def start(spec: EngineSpec) -> Iterator[Any]:
        yield Scripted(spec.scoring_mode)

    found = measured(ordered(model), own, start, lambda _: None)
    assert (found.fast, found.noise) == (Gap(0.25, 0, 0), Gap(0.125, 0, 0))
    assert (found.dtype, found.runner, found.near) == ("bfloat16", "v2", True)
    assert found.stock_rate == found.fast_rate == 12.0


@pytest.mark.parametrize("broken", [None, "nothing"])
def test_a_model_without_a_tokenizer_starts_no_engine(
    model: str, own: Settings, tmp_path: Path, broken: str | None
) -> None:
    def start(_: EngineSpec) -> Any:
        raise AssertionError("nothing to ask it")

    order = ordered(str(tmp_path / broken) if broken else str(tmp_path))
    with pytest.raises(ToleranceError, match="the tokenizer of"):
        measured(order, own, start, lambda _: None)


def test_two_at_once_and_a_full_house_are_refused(own: Settings, tmp_path: Path) -> None:
    with (
        alone(own.cache_dir),
        pytest.raises(ToleranceError, match="is being measured"),
        alone(own.cache_dir),
    ):
        pass
    with alone(own.cache_dir):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(ToleranceError, match="nothing can be stored"), alone(tmp_path / "file"):
        pass


def test_gpus_must_be_free_and_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [
        Gpu(at, f"GPU-{at}", name, 80 << 30, 0, 0, 30, ()) for at, name in enumerate(["H100", "H100", "L4"])
    ]
    one, two, other = (OwnedDevice(gpu.uuid, gpu) for gpu in gpus)
    monkeypatch.setattr(run, "memory_is_free", lambda uuid, _: uuid != "GPU-1")
    assert device_of([one]) == ("cuda", "H100")
    assert device_of([OwnedDevice("cpu-0")]) == ("cpu", cpu_name())
    with pytest.raises(ToleranceError, match=r"GPU 1 is in use: drain its group \(`evalq drain GROUP`\)"):
        device_of([one, two])
    with pytest.raises(ToleranceError, match="several kinds: H100, L4"):
        device_of([one, other])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_ended_leaves_no_engine_and_stores_nothing(
    model: str, own: Settings, number: signal.Signals
) -> None:
    order = {
        "backend": "echo",
        "model": model,
        "devices": "cpu:1",
        "args": {"delay_seconds": 60},
        "documents": 8,
    }
    env = {"EVALQ_CACHE": str(own.cache_dir), "EVALQ_DATA_DIR": str(own.data_dir)}
    command = [sys.executable, "-P", "-m", "workers.tolerance", json.dumps(order)]
    with subprocess.Popen(command, env=os.environ | env, stderr=subprocess.DEVNULL) as process:
        me = psutil.Process(process.pid)
        until(lambda: any("bootstrap.py" in " ".join(each.cmdline()) for each in me.children(recursive=True)))
        below = me.children(recursive=True)
        process.send_signal(number)
        assert process.wait(30) != 0
    until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in below))
    assert [each.name for each in folder_of(own.cache_dir).iterdir() if each.suffix == ".json"] == []


def test_what_is_stored_replaces_nothing_half(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    file = keep(FOUND, own.cache_dir)

    def full(self: Path, _: Path) -> Path:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        keep(replace(FOUND, accepted=True), own.cache_dir)
    assert kept("vllm", own.cache_dir) == [FOUND]
    assert list(file.parent.iterdir()) == [file]


def test_a_cpu_is_called_as_linux_calls_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("processor\t: 0\nmodel name\t: Some (R) CPU: 3 GHz\n")
    (tmp_path / "arm").write_text("processor\t: 0\n")
    assert cpu_name(tmp_path / "x") == "Some (R) CPU: 3 GHz"
    assert cpu_name(tmp_path / "arm") == cpu_name(tmp_path / "none") == UNKNOWN
