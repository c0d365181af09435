"""A spare: an engine child that has imported its backend, touched no device, and waits for a model to load.

Its devices are told with the model. Standard library and messages alone, like all that runs before a backend.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.engine_child.contract import import_engine
from workers.protocol.engine import BackendImported, ImportBackend

NAME = "evalq-spare"
"""What a spare is called while it waits; at most 15 characters."""

CUDA_DRIVER = "libcuda.so.1"
NOT_INITIALIZED = 3
"""CUDA_ERROR_NOT_INITIALIZED."""

_COMM = Path("/proc/self/comm")


def imported(order: ImportBackend) -> BackendImported:
    """The backend, imported; raises whatever its import does."""
    started = time.monotonic()
    import_engine(order.backend, order.cache)
    return BackendImported(time.monotonic() - started, driver_started())


@contextmanager
def waiting() -> Iterator[None]:
    """Lists of processes show that this one waits; who removes a backend tells it from an engine by that."""
    before = _COMM.read_text().strip()
    _call(NAME)
    try:
        yield
    finally:
        _call(before)


def driver_started(driver: str = CUDA_DRIVER) -> bool:
    """Whether this process has started CUDA's driver: then it has looked for devices, and will not look again."""
    try:
        library = ctypes.CDLL(driver, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    except OSError:  # nobody has loaded it
        return False
    return bool(library.cuDeviceGetCount(ctypes.byref(ctypes.c_int())) != NOT_INITIALIZED)


def _call(name: str) -> None:
    with suppress(OSError):
        _COMM.write_text(name)
