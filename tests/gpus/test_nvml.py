from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest

from app.errors import GpuUnavailableError
from app.gpus.nvml import DriverVersions, Gpu, GpuProcess, discover, driver_versions, islands, memory_is_free
from tests.gpus.machine import GIB, Machine, gpu, mig
from tests.workers.fake_nvml import nvml_library

ROOT = Path(__file__).parents[2]


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


def test_what_an_operator_must_know_is_told(machine: Machine) -> None:
    machine(
        gpu(0, capability=[9, 0], node=65, slowed=0x48, ecc=3, rows=[0, 0, 1, 0]),
        gpu(1, capability=[8, 9], node=0, slowed=0x1, ecc=0, rows=[0, 2, 0, 1]),
    )
    hot, torn = discover()
    assert (hot.capability, hot.numa_node, hot.broken) == ("9.0", 65, None)
    assert hot.warnings == (
        "slowed down by heat",
        "3 uncorrectable memory errors since its last reset",
        "rows of its memory wait for a reset to be replaced",
    )
    assert (torn.capability, torn.numa_node, torn.warnings) == ("8.9", 0, ())
    assert torn.broken == "rows of its memory failed and cannot be replaced"


def test_in_place_of_a_gpu_in_mig_mode_stand_its_slices(machine: Machine) -> None:
    machine(gpu(0), mig(1, 40, 20, capability=[8, 0], temperature=50))
    _, first, second = discover()
    assert (first.index, first.slice, first.uuid, first.memory_total_bytes) == (1, 0, "MIG-1-0", 40 * GIB)
    assert (second.slice, second.utilization_percent, second.temperature_celsius) == (1, None, 50)
    assert second.capability == "8.0"
    assert memory_is_free("MIG-1-1", 0)


def test_gpus_that_nvlink_joins_are_one_island(machine: Machine) -> None:
    joined = [gpu(n, links=[n ^ 1]) for n in range(4)]
    machine(*joined, gpu(4), mig(5, 20, 20))
    assert [[found.uuid for found in island] for island in islands(discover())] == [
        ["GPU-0", "GPU-1"],
        ["GPU-2", "GPU-3"],
        ["GPU-4"],
        ["MIG-5-0"],
        ["MIG-5-1"],
    ]
    assert islands([]) == []


def test_a_gpu_that_fell_off_the_bus_leaves_the_others(machine: Machine) -> None:
    machine(gpu(0), gpu(1, lost=True), gpu(2))
    assert [found.uuid for found in discover()] == ["GPU-0", "GPU-2"]


def test_memory_is_seen_to_become_free(machine: Machine) -> None:
    machine(gpu(0), gpu(1, used=GIB))
    assert not memory_is_free("GPU-1", GIB - 1)
    assert memory_is_free("GPU-1", GIB)
    machine(gpu(0), gpu(1))
    assert memory_is_free("GPU-1", 0)


def test_the_driver_is_named(machine: Machine) -> None:
    assert driver_versions() == DriverVersions("580.65.06", "13.0")


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
        ("nvmlDeviceGetMemoryInfo_v2", pynvml.NVML_ERROR_UNKNOWN, "Unknown Error"),
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


def test_another_process_sees_the_same_gpus(machine: Machine) -> None:
    machine(gpu(0, used=5))
    fake = str(Path(nvml_library.__file__).parent)
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            "from app.gpus.nvml import discover; print(discover()[0].memory_used_bytes)",
        ],
        env=os.environ | {"PYTHONPATH": f"{fake}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert seen.stdout == "5\n"
