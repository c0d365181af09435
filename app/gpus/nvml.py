"""What this host's GPUs say of themselves, asked through NVML. A slice of one in MIG mode is a GPU here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from app.errors import GpuUnavailableError

T = TypeVar("T")

NODES = 16
"""Words of 64 NUMA nodes that are asked for; no host has more."""

GONE = (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_ResetRequired, pynvml.NVMLError_GpuNotFound)
"""One GPU answers so that can do nothing any more, and the others go on."""

SLOWED = {
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "slowed down by heat",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "slowed down by heat",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "slowed down by the power supply",
}


@dataclass(frozen=True)
class GpuProcess:
    """A process on a GPU. In a container the id is the host's and means nothing here."""

    pid: int
    memory_used_bytes: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one slice of it, now; what its model does not report is None."""

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilization_percent: int | None
    temperature_celsius: int | None
    processes: tuple[GpuProcess, ...]
    slice: int | None = None
    """Of a GPU in MIG mode: which one, from 0."""
    capability: str | None = None
    """CUDA's compute capability: `9.0`."""
    numa_node: int | None = None
    """The nearest one."""
    warnings: tuple[str, ...] = ()
    """What an operator should look at, in words."""
    broken: str | None = None
    """Why nothing should run on it, in words."""


@dataclass(frozen=True)
class DriverVersions:
    """The driver's version and the newest CUDA version it serves."""

    driver: str
    cuda: str


def discover() -> list[Gpu]:
    """The host's GPUs by NVML index, less those that are lost; none where NVML is not installed.

    In place of one in MIG mode stand its slices. Raises GpuUnavailableError.
    """
    if not _installed():
        return []
    with _nvml():
        return [gpu for index in range(pynvml.nvmlDeviceGetCount()) for gpu in _at(index)]


def islands(gpus: Sequence[Gpu]) -> list[list[Gpu]]:
    """The GPUs in groups within which each reaches each over NVLink; slices reach nobody.

    Raises GpuUnavailableError.
    """
    if not gpus:
        return []
    with _nvml():
        found: list[list[Gpu]] = []
        for gpu in gpus:
            home = next((island for island in found if all(_linked(gpu, other) for other in island)), None)
            found.append([gpu]) if home is None else home.append(gpu)
        return found


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


def _at(index: int) -> list[Gpu]:
    """A GPU, or its slices, or nothing where it is lost."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        slices = _slices(handle)
        if slices is None:
            return [_describe(handle, index, handle)]
        return [_describe(each, index, handle, number) for number, each in slices]
    except GONE:
        return []


def _slices(handle: Any) -> list[tuple[int, Any]] | None:
    """The slices of a GPU in MIG mode; None for any other."""
    mode = _reported(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    most = range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))
    found = ((number, _slice(handle, number)) for number in most)
    return [(number, each) for number, each in found if each is not None]


def _slice(handle: Any, number: int) -> Any:
    try:
        return pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
    except pynvml.NVMLError_NotFound:
        return None


def _describe(handle: Any, index: int, whole: Any, number: int | None = None) -> Gpu:
    """`whole` is the GPU, `handle` what of it is meant."""
    memory = _memory(handle)
    utilization = _reported(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    capability = _reported(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(whole))
    remapped = _remapped(whole)
    return Gpu(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=pynvml.nvmlDeviceGetName(handle),
        memory_total_bytes=memory.total,
        memory_used_bytes=memory.used,
        utilization_percent=None if utilization is None else utilization.gpu,
        temperature_celsius=_reported(
            lambda: pynvml.nvmlDeviceGetTemperature(whole, pynvml.NVML_TEMPERATURE_GPU)
        ),
        processes=_processes(handle),
        slice=number,
        capability=capability and "{}.{}".format(*capability),
        numa_node=_numa_node(whole),
        warnings=tuple(_warnings(whole, remapped)),
        broken="rows of its memory failed and cannot be replaced" if remapped[3] else None,
    )


def _memory(handle: object) -> pynvml.c_nvmlMemory_v2_t:
    """Version 2 of the figures: `used` leaves out what the driver keeps for itself."""
    return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)


def _processes(handle: object) -> tuple[GpuProcess, ...]:
    running = _reported(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
    return tuple(GpuProcess(process.pid, process.usedGpuMemory) for process in running)


def _numa_node(handle: object) -> int | None:
    near = _reported(
        lambda: pynvml.nvmlDeviceGetMemoryAffinity(handle, NODES, pynvml.NVML_AFFINITY_SCOPE_NODE)
    )
    bits = sum(word << (64 * place) for place, word in enumerate(near or ()))
    return (bits & -bits).bit_length() - 1 if bits else None


def _warnings(handle: object, remapped: Sequence[int]) -> Iterator[str]:
    slowed = _reported(lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)) or 0
    yield from dict.fromkeys(words for reason, words in SLOWED.items() if slowed & reason)
    kind, since = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    if errors := _reported(lambda: pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, since)):
        yield f"{errors} uncorrectable memory errors since its last reset"
    if remapped[2]:
        yield "rows of its memory wait for a reset to be replaced"


def _remapped(handle: object) -> tuple[int, int, int, int]:
    """Rows replaced after correctable and uncorrectable errors, whether some wait for a reset, whether it failed."""
    return _reported(lambda: pynvml.nvmlDeviceGetRemappedRows(handle)) or (0, 0, 0, 0)


def _linked(one: Gpu, other: Gpu) -> bool:
    if one.slice is not None or other.slice is not None:
        return False
    handles = [pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid) for gpu in (one, other)]
    status = _reported(lambda: pynvml.nvmlDeviceGetP2PStatus(*handles, pynvml.NVML_P2P_CAPS_INDEX_NVLINK))
    return status is not None and bool(status == pynvml.NVML_P2P_STATUS_OK)


def _reported(ask: Callable[[], T]) -> T | None:
    """What a GPU says, or None where its model, or its driver, does not."""
    try:
        return ask()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None
