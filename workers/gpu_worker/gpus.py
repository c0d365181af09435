"""What this host has to compute on: its GPUs as NVML shows them, or CPU slots."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import pynvml

from app.errors import GpuUnavailableError

T = TypeVar("T")


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU. In a container the id is the host's and means nothing here."""

    pid: int
    memory_used_bytes: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU now; what its model does not report is None."""

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None
    processes: tuple[GpuProcess, ...]


@dataclass(frozen=True)
class OwnedDevice:
    """What a worker owns: a GPU, named by its UUID, or a CPU slot where `gpu` is None."""

    name: str
    gpu: Gpu | None = None

    def identity(self, host: str, group: str) -> str:
        """The device's id in the database: a GPU's UUID, or `cpu:<host>:<group>:<n>`."""
        return self.name if self.gpu else f"cpu:{host}:{group}:{self.name.removeprefix('cpu-')}"


@dataclass(frozen=True)
class DriverVersions:
    """The driver's version and the newest CUDA version it serves."""

    driver: str
    cuda: str


def discover() -> list[Gpu]:
    """The host's GPUs by NVML index; none where NVML is not installed. Raises GpuUnavailableError."""
    if not _installed():
        return []
    with _nvml():
        return [_describe(index) for index in range(pynvml.nvmlDeviceGetCount())]


def memory_is_free(uuid: str, threshold_bytes: int) -> bool:
    """Whether no more than the threshold of this GPU's memory is used. Raises GpuUnavailableError."""
    with _nvml():
        used: int = _memory(pynvml.nvmlDeviceGetHandleByUUID(uuid)).used
        return used <= threshold_bytes


def driver_versions() -> DriverVersions | None:
    """What drives the GPUs, or None where NVML is not installed. Raises GpuUnavailableError."""
    if not _installed():
        return None
    with _nvml():
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return DriverVersions(pynvml.nvmlSystemGetDriverVersion(), f"{cuda // 1000}.{cuda % 1000 // 10}")


def parse_devices(text: str, gpus: Callable[[], Sequence[Gpu]] = discover) -> list[OwnedDevice]:
    """The devices a worker was told to own: `cpu:2`, or NVML indices like `0,1,2,3`.

    Raises ValueError for what is neither, GpuUnavailableError for an index this host does not have.
    """
    slots = re.fullmatch(r"cpu:([1-9]\d*)", text.strip())
    if slots:
        return [OwnedDevice(f"cpu-{number}") for number in range(int(slots[1]))]
    by_index = {gpu.index: gpu for gpu in gpus()}
    return [_device(by_index, index) for index in _indices(text)]


def visible_devices(devices: Sequence[OwnedDevice]) -> dict[str, str]:
    """The environment in which a child sees exactly these devices."""
    indices = ",".join(str(device.gpu.index) for device in devices if device.gpu)
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": indices}


def _indices(text: str) -> list[int]:
    if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", text):
        raise ValueError(f"{text!r} names no devices: use cpu:2 for CPU slots or GPU indices like 0,1,2,3")
    indices = [int(part) for part in text.split(",")]
    twice = sorted({index for index in indices if indices.count(index) > 1})
    if twice:
        raise ValueError(f"{text!r} names GPU {twice[0]} twice")
    return indices


def _device(by_index: dict[int, Gpu], index: int) -> OwnedDevice:
    gpu = by_index.get(index)
    if gpu is None:
        there = "has no GPUs" if not by_index else f"has GPUs {', '.join(map(str, sorted(by_index)))}"
        raise GpuUnavailableError(f"there is no GPU {index}: this host {there}")
    return OwnedDevice(gpu.uuid, gpu)


def _installed() -> bool:
    try:
        with _nvml():
            return True
    except GpuUnavailableError as error:
        if isinstance(error.__cause__, pynvml.NVMLError_LibraryNotFound):
            return False
        raise


@contextmanager
def _nvml() -> Iterator[None]:
    """An NVML session of its own, so that a driver that was reloaded is seen anew."""
    try:
        pynvml.nvmlInit()
        try:
            yield
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise GpuUnavailableError(f"NVML does not answer: {error}") from error


def _describe(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _memory(handle)
    utilization = _reported(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    return Gpu(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=pynvml.nvmlDeviceGetName(handle),
        memory_total_bytes=memory.total,
        memory_used_bytes=memory.used,
        utilization_percent=None if utilization is None else utilization.gpu,
        temperature_celsius=_reported(
            lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
        ),
        processes=_processes(handle),
    )


def _memory(handle: object) -> pynvml.c_nvmlMemory_v2_t:
    """Version 2 of the figures: `used` leaves out what the driver keeps for itself."""
    return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)


def _processes(handle: object) -> tuple[GpuProcess, ...]:
    running = _reported(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
    return tuple(GpuProcess(process.pid, process.usedGpuMemory) for process in running)


def _reported(ask: Callable[[], T]) -> T | None:
    """What a GPU says, or None where its model does not."""
    try:
        return ask()
    except pynvml.NVMLError_NotSupported:
        return None
