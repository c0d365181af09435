"""From nothing loaded to the first answers, with and without a spare interpreter and an early start."""

from __future__ import annotations

from contextlib import suppress

import psutil

from tests.client import eventually
from tests.gpu.bench import Bench, Figures, seconds
from tests.gpu.engines import HF, VLLM
from tests.gpu.service import Service

SPARE_SECONDS, IMPORT_SECONDS = 15.0, 180.0
QUIET_SECONDS, BUSY_PERCENT = 1.0, 5.0
"""An interpreter that used less for so long has imported what it imports."""


def cold_starts(bench: Bench) -> Figures:
    """Seconds of hf, each way with a service of its own whose engines have ended before."""
    return _each_way(bench, HF)


def vllm_cold_starts(bench: Bench) -> Figures:
    """The same of vLLM."""
    return _each_way(bench, VLLM)


def _each_way(bench: Bench, model: str) -> Figures:
    bench.service.release()
    return {
        f"{'spare' if spare else 'bare'}_{'early' if early else 'late'}": _cold(bench, model, spare, early)
        for spare, early in bench.scale.cold
    }


def _cold(bench: Bench, model: str, spare: bool, early: bool) -> Figures:
    env = {"EVALQ_SPARE_ENGINES": str(int(spare)), "EVALQ_EARLY_START": str(int(early))}
    folder = bench.folder / f"cold-{model}-{int(spare)}{int(early)}"
    folder.mkdir()
    with Service(folder, bench.devices, dict(bench.env) | env) as service:
        service.run(bench.body(1, model=model))
        service.release()
        in_reserve = _in_reserve(service) if spare else 0
        job = service.run(bench.body(bench.scale.parity_documents, model=model))
    replica, posted = job["replicas"][-1], seconds(job["created_at"])
    return {
        "in_reserve": in_reserve,
        "to_serving_seconds": round(seconds(replica["serving_at"]) - posted, 2),
        "start_seconds": round(seconds(replica["serving_at"]) - seconds(replica["placed_at"]), 2),
        "wall_seconds": round(seconds(job["ended_at"]) - posted, 2),
    }


def _in_reserve(service: Service) -> int:
    """How many interpreters there are, once all of them have imported what they import; 0 where none comes."""
    with suppress(AssertionError):
        eventually(service.interpreters, SPARE_SECONDS, "a spare interpreter")
    eventually(lambda: all(map(_quiet, service.interpreters())), IMPORT_SECONDS, "one that has imported all")
    return len(service.interpreters())


def _quiet(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it has been taken, or has ended
        used: float = process.cpu_percent(QUIET_SECONDS)
        return used < BUSY_PERCENT
    return False
