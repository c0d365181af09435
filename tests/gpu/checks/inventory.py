"""The GPU as NVML, `nvidia-smi` and the API show it: one and the same."""

from __future__ import annotations

import subprocess

from app.gpus.nvml import driver_versions
from tests.gpu.bench import Bench, Figures

QUERY = ("index", "uuid", "name", "memory.total", "driver_version")


def inventory(bench: Bench) -> Figures:
    """Name, UUID, memory, driver and CUDA; the group's device is that GPU."""
    gpu, driver = bench.gpu, driver_versions()
    assert gpu is not None
    assert driver is not None
    index, uuid, name, mebibytes, version = smi()[gpu.index]
    assert (int(index), uuid, name, version) == (gpu.index, gpu.uuid, gpu.name, driver.driver)
    assert abs(int(mebibytes) * 2**20 - gpu.memory_total_bytes) < 2**21, (mebibytes, gpu)
    group = bench.service.group()
    (device,) = group["devices"]
    assert (group["kind"], device["id"], device["name"]) == ("cuda", gpu.uuid, gpu.name), group
    assert device["memory_bytes"] == gpu.memory_total_bytes, device
    return {
        "name": name,
        "uuid": uuid,
        "memory_gib": round(gpu.memory_total_bytes / 2**30, 2),
        "idle_used_mib": gpu.memory_used_bytes >> 20,
        "driver": driver.driver,
        "cuda": driver.cuda,
        "temperature_celsius": device["temperature_celsius"],
    }


def smi() -> list[list[str]]:
    """What `nvidia-smi` says, a row for each GPU."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines()]
