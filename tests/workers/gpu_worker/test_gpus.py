from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pynvml
import pytest

from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.replica import Replica, ReplicaStatus
from app.errors import GpuUnavailableError
from app.settings import Settings
from tests.workers.fake_nvml import nvml_library
from workers.gpu_worker.gpus import (
    DriverVersions,
    Gpu,
    GpuProcess,
    OwnedDevice,
    discover,
    driver_versions,
    memory_is_free,
    parse_devices,
    visible_devices,
)
from workers.gpu_worker.group import GroupDevices

ROOT = Path(__file__).parents[3]
GIB = 1 << 30

Machine: TypeAlias = Callable[..., None]


def gpu(number: int, **changes: Any) -> dict[str, Any]:
    idle = {"utilization": 0, "temperature": 31, "processes": []}
    return {"uuid": f"GPU-{number}", "name": "NVIDIA H100", "total": 80 * GIB, "used": 0, **idle, **changes}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Puts a machine with these GPUs, and these failing functions, in place of this one."""
    state = tmp_path / "nvml.json"
    monkeypatch.setenv(nvml_library.STATE_VARIABLE, str(state))
    load_anew(monkeypatch)

    def machine(*devices: dict[str, Any], **fails: int) -> None:
        state.write_text(
            json.dumps({"driver": "580.65.06", "cuda": 13000, "devices": devices, "fails": fails})
        )

    machine()
    return machine


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(nvml_library.STATE_VARIABLE, raising=False)
    load_anew(monkeypatch)


def load_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "CDLL", nvml_library.load)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})


def test_every_gpu_is_found_with_what_it_does(machine: Machine) -> None:
    machine(gpu(0), gpu(1, used=3 * GIB, utilization=87, temperature=64, processes=[[4711, 2 * GIB]]))
    assert discover() == [
        Gpu(0, "GPU-0", "NVIDIA H100", 80 * GIB, 0, 0, 31, ()),
        Gpu(1, "GPU-1", "NVIDIA H100", 80 * GIB, 3 * GIB, 87, 64, (GpuProcess(4711, 2 * GIB),)),
    ]


def test_what_a_gpu_does_not_report_is_unknown(machine: Machine) -> None:
    machine(
        gpu(0, utilization=None, temperature=None),
        nvmlDeviceGetComputeRunningProcesses_v3=pynvml.NVML_ERROR_NOT_SUPPORTED,
    )
    (found,) = discover()
    assert (found.utilization_percent, found.temperature_celsius, found.processes) == (None, None, ())


def test_memory_is_seen_to_become_free(machine: Machine) -> None:
    machine(gpu(0), gpu(1, used=GIB))
    assert not memory_is_free("GPU-1", GIB - 1)
    assert memory_is_free("GPU-1", GIB)
    machine(gpu(0), gpu(1))
    assert memory_is_free("GPU-1", 0)


def test_the_driver_is_named(machine: Machine) -> None:
    assert driver_versions() == DriverVersions("580.65.06", "13.0")


def test_an_engine_starts_with_the_driver_of_its_gpus(machine: Machine) -> None:
    machine(gpu(0))
    devices = GroupDevices(Settings(worker_group="a", worker_devices="0"))
    engine, now = EngineSpec(backend="hf", model="m"), datetime.now(UTC)
    command = devices.engine_command(
        Replica(uuid7(), "a", engine, ReplicaStatus.PLACED, ("GPU-0",), placed_at=now)
    )
    assert (command.device, command.driver) == ("cuda", {"driver": "580.65.06", "driver_cuda": "13.0"})


def test_a_machine_without_nvml_has_no_gpus(no_library: None) -> None:
    assert discover() == []
    assert driver_versions() is None


def test_a_machine_without_nvml_has_no_memory_to_look_at(no_library: None) -> None:
    with pytest.raises(GpuUnavailableError, match="NVML Shared Library Not Found"):
        memory_is_free("GPU-0", 0)


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"),
        ("nvmlInitWithFlags", pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "version mismatch"),
        ("nvmlDeviceGetMemoryInfo_v2", pynvml.NVML_ERROR_GPU_IS_LOST, "GPU is lost"),
    ],
)
def test_a_failure_of_nvml_is_told_in_words(machine: Machine, function: str, code: int, words: str) -> None:
    machine(gpu(0), **{function: code})
    with pytest.raises(GpuUnavailableError, match=words):
        discover()


def test_a_gpu_that_fell_off_the_bus_is_not_free(machine: Machine) -> None:
    machine(gpu(0))
    with pytest.raises(GpuUnavailableError, match="Not Found"):
        memory_is_free("GPU-1", 0)


def test_cpu_slots_are_devices() -> None:
    assert parse_devices("cpu:2") == [OwnedDevice("cpu-0"), OwnedDevice("cpu-1")]
    assert parse_devices("cpu:2")[1].identity("node1", "a") == "cpu:node1:a:1"


def test_gpus_are_named_by_index_and_known_by_uuid(machine: Machine) -> None:
    machine(gpu(0), gpu(1), gpu(2))
    devices = parse_devices("2, 0")
    assert [device.identity("node1", "a") for device in devices] == ["GPU-2", "GPU-0"]
    assert visible_devices(devices) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "2,0"}


def test_cpu_slots_see_no_gpu() -> None:
    assert visible_devices(parse_devices("cpu:1"))["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,0,1", "names GPU 1 twice"),
        ("", "names no devices"),
        ("cpu", "names no devices"),
        ("cpu:0", "names no devices"),
        ("0,", "names no devices"),
        ("all", "use cpu:2 for CPU slots or GPU indices"),
    ],
)
def test_devices_that_mean_nothing_are_refused(machine: Machine, text: str, words: str) -> None:
    machine(gpu(0), gpu(1))
    with pytest.raises(ValueError, match=words):
        parse_devices(text)


@pytest.mark.parametrize(("count", "words"), [(2, "has GPUs 0, 1"), (0, "has no GPUs")])
def test_a_gpu_that_is_not_there_is_named(machine: Machine, count: int, words: str) -> None:
    machine(*map(gpu, range(count)))
    with pytest.raises(GpuUnavailableError, match=f"there is no GPU 2: this host {words}"):
        parse_devices("2")


def test_another_process_sees_the_same_gpus(machine: Machine) -> None:
    machine(gpu(0, used=5))
    fake = str(Path(nvml_library.__file__).parent)
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            "from workers.gpu_worker.gpus import discover; print(discover()[0].memory_used_bytes)",
        ],
        env=os.environ | {"PYTHONPATH": f"{fake}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout == "5\n"
