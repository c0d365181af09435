"""What a loaded model takes, by torch's own account; on a CPU by the kernel's."""

from __future__ import annotations

import resource
from typing import Any

import torch


def measures(lm: Any) -> dict[str, float]:
    """By the names of `Loaded`: of the GPU that holds most, or of the process."""
    if lm.device.type == "cuda":
        weights = max(map(torch.cuda.memory_allocated, range(torch.cuda.device_count())))
    else:
        weights = lm.model.get_memory_footprint()
    return {"weights_bytes": float(weights), "peak_bytes": peak_bytes(lm)}


def peak_bytes(lm: Any) -> float:
    """The most that was taken so far; on a CPU with Python and its libraries in it."""
    if lm.device.type == "cuda":
        return float(max(map(torch.cuda.max_memory_reserved, range(torch.cuda.device_count()))))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
