"""SIGKILL of an engine, its shim and its worker in mid-job: nothing is lost, and no GPU is given out unseen."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.client import TERMINAL, eventually
from tests.gpu.bench import Bench, Figures, seconds
from tests.gpu.difference import Samples, difference, outcome
from tests.gpu.engines import HF, VLLM
from tests.gpu.service import Service
from workers.gpu_worker.group import CLEAN_BYTES

END_SECONDS = 240.0
SLACK_SECONDS = 0.1
"""Between two looks of ours the worker may have had its own."""


def kills(bench: Bench) -> Figures:
    """The document equals the undisturbed one; figures are seconds from the kill."""
    return _all_killed(bench, HF, bench.scale.victims)


def vllm_kills(bench: Bench) -> Figures:
    """The same of vLLM's core, whose death the kernel alone tells of; where batches change last bits, it is near."""
    return _all_killed(bench, VLLM, ("core",))


def _all_killed(bench: Bench, model: str, victims: Sequence[str]) -> Figures:
    body = bench.body(bench.scale.kill_documents, model=model)
    undisturbed = outcome(bench.service, bench.service.run(body)["id"])
    return {victim: _killed(bench, body, undisturbed, victim) for victim in victims}


def _killed(bench: Bench, body: Figures, undisturbed: tuple[Figures, Samples], victim: str) -> Figures:
    service = bench.service
    with bench.watch() as watch:
        job_id = service.submit(body)
        before = service.until(job_id, lambda job: _under_way(job) or job["status"] in TERMINAL)
        assert before["status"] == "running", (
            "the job ended before anything was killed: it needs more documents"
        )
        at = time.time()
        service.find(victim).kill()
        states = _states_until_end(service, job_id)
        job = service.job(job_id)
    assert job["status"] == "succeeded", job["error"]
    found = difference(outcome(service, job_id), undisturbed)
    assert found.none or (found.near and not bench.engines[body["model"]].exact), found
    first, *_, last = sorted(job["replicas"], key=lambda replica: replica["placed_at"])
    assert first["id"] != last["id"], job["replicas"]
    figures: Figures = {
        "device_states": " ".join(states),
        "next_engine_placed_seconds": round(seconds(last["placed_at"]) - at, 2),
        "serving_again_seconds": round(seconds(last["serving_at"]) - at, 2),
        "job_seconds": round(seconds(job["ended_at"]) - seconds(job["started_at"]), 2),
        "different_requests": found.different_requests,
    }
    if bench.gpu is None:
        return figures
    seen_free = watch.below(CLEAN_BYTES, at)
    assert seen_free is not None, "the GPU's memory was never seen free"
    assert seen_free <= seconds(last["placed_at"]) + SLACK_SECONDS, (
        "the next engine came before the memory was free"
    )
    return {"memory_free_seconds": round(seen_free - at, 2), **figures}


def _states_until_end(service: Service, job_id: str) -> list[str]:
    """What was seen of the device until the job had ended, each time it had changed."""
    seen: list[str] = []

    def over() -> bool:
        (state,) = service.states()
        if seen[-1:] != [state]:
            seen.append(state)
        return service.job(job_id)["status"] in TERMINAL

    eventually(over, END_SECONDS, f"the end of job {job_id}")
    return seen


def _under_way(job: Figures) -> bool:
    return bool(job["phase"] == "evaluating" and job["progress"]["done"])
