"""Machines with invented GPUs: the real pynvml, and a stand-in for the driver's library below it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pynvml
import pytest

from tests.workers.fake_nvml import nvml_library

GIB = 1 << 30

Machine: TypeAlias = Callable[..., None]


def gpu(number: int, **changes: Any) -> dict[str, Any]:
    idle = {"utilization": 0, "temperature": 31, "processes": []}
    return {"uuid": f"GPU-{number}", "name": "NVIDIA H100", "total": 80 * GIB, "used": 0, **idle, **changes}


def mig(number: int, *slices: int, **changes: Any) -> dict[str, Any]:
    """One in MIG mode; a slice is named by its GiB."""
    parts = [
        gpu(0, uuid=f"MIG-{number}-{place}", total=gib * GIB, utilization=None)
        for place, gib in enumerate(slices)
    ]
    return gpu(number, slices=parts, **changes)


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """What puts a machine with these GPUs, and these failing functions, in place of this one."""
    state = tmp_path / "nvml.json"
    monkeypatch.setenv(nvml_library.STATE_VARIABLE, str(state))
    load_anew(monkeypatch)

    def machine(*devices: dict[str, Any], **fails: int) -> None:
        state.write_text(
            json.dumps({"driver": "580.65.06", "cuda": 13000, "devices": devices, "fails": fails})
        )

    machine()
    return machine


def load_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pynvml look for its library again."""
    monkeypatch.setattr(pynvml, "CDLL", nvml_library.load)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
