from __future__ import annotations

import pytest

from app.errors import GpuUnavailableError
from app.gpus.naming import OwnedDevice, parse_devices, visible_devices
from tests.gpus.machine import Machine, gpu, mig


def names(text: str) -> list[str]:
    return [device.name for device in parse_devices(text)]


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
        ("every", "use cpu:2 for CPU slots, GPU indices"),
        ("all,0", "names no devices"),
        ("nvlink:x", "names no devices"),
        ("GPU-0,0", "names GPU 0 twice"),
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


def test_all_are_all_slices_included(machine: Machine) -> None:
    machine(gpu(0), mig(1, 40, 20))
    assert names("all") == ["GPU-0", "MIG-1-0", "MIG-1-1"]
    machine()
    with pytest.raises(GpuUnavailableError, match="this host has no GPUs"):
        parse_devices("all")


def test_a_slice_is_named_and_seen_by_its_uuid(machine: Machine) -> None:
    machine(mig(0, 40, 20), gpu(1))
    devices = parse_devices("0:1,1")
    assert [device.name for device in devices] == ["MIG-0-1", "GPU-1"]
    assert visible_devices(devices)["CUDA_VISIBLE_DEVICES"] == "MIG-0-1,1"
    with pytest.raises(
        GpuUnavailableError, match=r"GPU 0 is in MIG mode: name its slices: .* GPUs 0:0, 0:1$"
    ):
        parse_devices("0")
    with pytest.raises(GpuUnavailableError, match="no GPU 0:2"):
        parse_devices("0:2")


def test_devices_may_be_named_by_uuid(machine: Machine) -> None:
    machine(gpu(0), mig(1, 40, 20))
    assert names("MIG-1-1, GPU-0") == ["MIG-1-1", "GPU-0"]
    with pytest.raises(GpuUnavailableError, match="there is no GPU GPU-7"):
        parse_devices("GPU-7")


def test_an_island_is_named_by_its_number_where_there_are_several(machine: Machine) -> None:
    machine(*[gpu(n, links=[n ^ 1]) for n in range(4)], gpu(4))
    assert names("nvlink:1") == ["GPU-2", "GPU-3"]
    for text in ("nvlink", "nvlink:2"):
        with pytest.raises(GpuUnavailableError, match="2 islands of GPUs here: nvlink:0 is GPUs 0, 1;"):
            parse_devices(text)


def test_the_one_island_needs_no_number(machine: Machine) -> None:
    machine(*[gpu(n, links=[m for m in range(8) if m != n]) for n in range(8)])
    assert len(names("nvlink")) == 8
    machine(gpu(0), gpu(1))
    with pytest.raises(GpuUnavailableError, match="NVLink joins no GPUs of this host"):
        parse_devices("nvlink")
