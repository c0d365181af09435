"""A stand-in for libnvidia-ml.so.1 that shows the GPUs a JSON file describes, read anew at every call.

Its functions are C function pointers (made by ctypes), so the real pynvml calls them as it calls the driver's,
with its own structures; no compiler is needed. A process sees it that starts with this folder on PYTHONPATH
(sitecustomize.py) and the file's path in FAKE_NVML_STATE. The state:

    {"driver": "580.65.06", "cuda": 13000, "fails": {"nvmlInitWithFlags": 9}, "devices": [
        {"uuid": "GPU-0", "name": "NVIDIA H100", "total": 85899345920, "used": 0,
         "utilization": 0, "temperature": 40, "processes": [[4711, 1024]]}]}

`fails` names functions and their return codes; utilization and temperature may be null (not supported). A device may
also have `lost` (true), `capability` ([9, 0]), `node` (its NUMA node), `slowed` (clocks event reasons), `ecc`, `rows`
(four numbers of remapped rows), `links` (indices that NVLink joins it with) and `slices`, devices of their own.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml

STATE_VARIABLE = "FAKE_NVML_STATE"


class NvmlError(Exception):
    """A call ends with this return code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def load(name: str) -> FakeLibrary:
    """What pynvml calls instead of ctypes.CDLL; without a state file there is no library."""
    if STATE_VARIABLE not in os.environ:
        raise OSError(f"{name}: cannot open shared object file")
    return FakeLibrary(Path(os.environ[STATE_VARIABLE]))


class FakeLibrary:
    """Attributes are C functions, as on a ctypes.CDLL."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._functions: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in FUNCTIONS:
            raise AttributeError(name)
        call, arguments = FUNCTIONS[name]
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)
        return self._functions.setdefault(name, prototype(lambda *args: self._answer(name, call, args)))

    def _answer(self, name: str, call: Callable[..., None], args: tuple[Any, ...]) -> int:
        state = json.loads(self._state.read_text())
        try:
            if name in state.get("fails", {}):
                raise NvmlError(state["fails"][name])
            call(state, *args)
        except NvmlError as error:
            return error.code
        return pynvml.NVML_SUCCESS


def put(address: int, kind: Any, value: int) -> None:
    kind.from_address(address).value = value


def put_text(address: int, text: str, size: int) -> None:
    raw = text.encode() + b"\0"
    if len(raw) > size:
        raise NvmlError(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    ctypes.memmove(address, raw, len(raw))


SLICES = 100


def device_of(state: dict[str, Any], handle: int) -> dict[str, Any]:
    """A handle is an index and one, so that it is no null pointer; and 100 for each slice and one."""
    number, index = divmod(handle, SLICES)
    device = state["devices"][index - 1]
    if device.get("lost"):
        raise NvmlError(pynvml.NVML_ERROR_GPU_IS_LOST)
    return device["slices"][number - 1] if number else device


def put_handle(state: dict[str, Any], address: int, index: int) -> None:
    if not 0 <= index < len(state["devices"]):
        raise NvmlError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
    put(address, ctypes.c_void_p, index + 1)


def put_slice(state: dict[str, Any], handle: int, number: int, address: int) -> None:
    if number >= len(device_of(state, handle).get("slices", ())):
        raise NvmlError(pynvml.NVML_ERROR_NOT_FOUND)
    put(address, ctypes.c_void_p, handle + SLICES * (number + 1))


def find(state: dict[str, Any], uuid: int, address: int) -> None:
    wanted = ctypes.string_at(uuid).decode()
    handles = {
        device["uuid"]: SLICES * number + index
        for index, whole in enumerate(state["devices"], 1)
        for number, device in enumerate([whole, *whole.get("slices", ())])
    }
    if wanted not in handles:
        raise NvmlError(pynvml.NVML_ERROR_NOT_FOUND)
    put(address, ctypes.c_void_p, handles[wanted])


def put_mode(state: dict[str, Any], handle: int, current: int, pending: int) -> None:
    for address in (current, pending):
        put(address, UNSIGNED, int("slices" in device_of(state, handle)))


def put_capability(state: dict[str, Any], handle: int, major: int, minor: int) -> None:
    for address, number in zip((major, minor), told(state, handle, "capability"), strict=True):
        put(address, ctypes.c_int, number)


def put_node(state: dict[str, Any], handle: int, words: int, address: int, scope: int) -> None:
    word, bit = divmod(told(state, handle, "node"), 64)
    assert word < words
    put(address + 8 * word, ctypes.c_ulonglong, 1 << bit)


def put_rows(state: dict[str, Any], handle: int, *addresses: int) -> None:
    for address, number in zip(addresses, told(state, handle, "rows"), strict=True):
        put(address, UNSIGNED, number)


def put_link(state: dict[str, Any], one: int, other: int, index: int, address: int) -> None:
    joined = other - 1 in told(state, one, "links")
    put(address, UNSIGNED, pynvml.NVML_P2P_STATUS_OK if joined else pynvml.NVML_P2P_STATUS_NOT_SUPPORTED)


def told(state: dict[str, Any], handle: int, name: str) -> Any:
    """What a device says under this name, or that it does not."""
    return known(device_of(state, handle).get(name))


def put_memory(state: dict[str, Any], handle: int, address: int) -> None:
    device = device_of(state, handle)
    memory = pynvml.c_nvmlMemory_v2_t.from_address(address)
    memory.total, memory.used, memory.reserved = device["total"], device["used"], 0
    memory.free = device["total"] - device["used"]


def put_utilization(state: dict[str, Any], handle: int, address: int) -> None:
    pynvml.c_nvmlUtilization_t.from_address(address).gpu = known(device_of(state, handle)["utilization"])


def put_temperature(state: dict[str, Any], handle: int, sensor: int, address: int) -> None:
    put(address, ctypes.c_uint, known(device_of(state, handle)["temperature"]))


def known(value: Any) -> Any:
    if value is None:
        raise NvmlError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return value


def put_processes(state: dict[str, Any], handle: int, count: int, address: int | None) -> None:
    processes = device_of(state, handle)["processes"]
    room = ctypes.c_uint.from_address(count).value
    put(count, ctypes.c_uint, len(processes))
    if room < len(processes):
        raise NvmlError(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    rows = (pynvml.c_nvmlProcessInfo_v3_t * len(processes)).from_address(address or count)
    for row, (pid, used) in zip(rows, processes, strict=True):
        row.pid, row.usedGpuMemory = pid, used


POINTER, UNSIGNED = ctypes.c_void_p, ctypes.c_uint

FUNCTIONS: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {
    "nvmlInitWithFlags": (lambda state, flags: None, (UNSIGNED,)),
    "nvmlShutdown": (lambda state: None, ()),
    "nvmlSystemGetDriverVersion": (
        lambda state, text, size: put_text(text, state["driver"], size),
        (POINTER, UNSIGNED),
    ),
    "nvmlSystemGetCudaDriverVersion": (
        lambda state, number: put(number, ctypes.c_int, state["cuda"]),
        (POINTER,),
    ),
    "nvmlDeviceGetCount_v2": (
        lambda state, number: put(number, UNSIGNED, len(state["devices"])),
        (POINTER,),
    ),
    "nvmlDeviceGetHandleByIndex_v2": (
        lambda state, index, handle: put_handle(state, handle, index),
        (UNSIGNED, POINTER),
    ),
    "nvmlDeviceGetHandleByUUID": (find, (POINTER, POINTER)),
    "nvmlDeviceGetUUID": (
        lambda state, handle, text, size: put_text(text, device_of(state, handle)["uuid"], size),
        (POINTER, POINTER, UNSIGNED),
    ),
    "nvmlDeviceGetName": (
        lambda state, handle, text, size: put_text(text, device_of(state, handle)["name"], size),
        (POINTER, POINTER, UNSIGNED),
    ),
    "nvmlDeviceGetMemoryInfo_v2": (put_memory, (POINTER, POINTER)),
    "nvmlDeviceGetUtilizationRates": (put_utilization, (POINTER, POINTER)),
    "nvmlDeviceGetTemperature": (put_temperature, (POINTER, UNSIGNED, POINTER)),
    "nvmlDeviceGetMigMode": (put_mode, (POINTER, POINTER, POINTER)),
    "nvmlDeviceGetMaxMigDeviceCount": (
        lambda state, handle, number: put(number, UNSIGNED, 7),
        (POINTER, POINTER),
    ),
    "nvmlDeviceGetMigDeviceHandleByIndex": (put_slice, (POINTER, UNSIGNED, POINTER)),
    "nvmlDeviceGetCudaComputeCapability": (put_capability, (POINTER, POINTER, POINTER)),
    "nvmlDeviceGetMemoryAffinity": (put_node, (POINTER, UNSIGNED, POINTER, UNSIGNED)),
    "nvmlDeviceGetCurrentClocksEventReasons": (
        lambda state, handle, reasons: put(reasons, ctypes.c_ulonglong, told(state, handle, "slowed")),
        (POINTER, POINTER),
    ),
    "nvmlDeviceGetTotalEccErrors": (
        lambda state, handle, kind, since, count: put(count, ctypes.c_ulonglong, told(state, handle, "ecc")),
        (POINTER, UNSIGNED, UNSIGNED, POINTER),
    ),
    "nvmlDeviceGetRemappedRows": (put_rows, (POINTER,) * 5),
    "nvmlDeviceGetP2PStatus": (put_link, (POINTER, POINTER, UNSIGNED, POINTER)),
    "nvmlDeviceGetComputeRunningProcesses_v3": (put_processes, (POINTER, POINTER, POINTER)),
}
