"""`parallelize=True` on one GPU: what does not fit goes to the host's memory and to disk."""

from __future__ import annotations

from tests.gpu.bench import Bench, Figures
from tests.gpu.difference import difference, outcome

DOCUMENTS = 2


def offload(bench: Bench) -> Figures:
    """The answers are those of the whole model on the GPU, with a part of its memory."""
    service, folder = bench.service, bench.folder / "offload"
    service.release()
    whole = service.run(bench.body(DOCUMENTS))
    service.release()
    args = {
        "parallelize": True,
        "max_memory_per_gpu": "1GB",
        "max_cpu_memory": "1GB",
        "offload_folder": str(folder),
    }
    with bench.watch() as watch:
        job = service.run(bench.body(DOCUMENTS, model_args=args))
    found = difference(outcome(service, job["id"]), outcome(service, whole["id"]))
    (engine,) = service.results(job["id"])["evalq"]["engines"]
    service.release()
    assert found.flipped == 0, found
    assert {"0", "cpu", "disk"} <= (engine["placement"] or {}).keys(), engine
    return {
        "largest_difference": found.largest,
        "peak_memory_gib": watch.peak_gib(),
        "modules": engine["placement"],
        "gpu_seconds": round(job["gpu_seconds"], 1),
        "whole_gpu_seconds": round(whole["gpu_seconds"], 1),
    }
