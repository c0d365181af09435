"""How fast jobs are beside `lm_eval run`, cold and warm, in interleaved rounds; medians."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from transformers import AutoTokenizer

from tests.gpu.bench import Bench, Figures, seconds
from tests.gpu.difference import difference, outcome
from tests.gpu.engines import HF, VLLM


def speed(bench: Bench) -> Figures:
    """Wall times, rates, where a cold start's seconds go, and how busy the engine is."""
    return _measured(bench, HF)


def vllm_speed(bench: Bench) -> Figures:
    """The same of vLLM, and how many requests a second it answers for one that hf does."""
    figures = _measured(bench, VLLM)
    bench.service.release()
    bench.service.run(bench.body(1))
    hf = timed(bench, HF)["requests_per_second"]
    bench.service.release()
    return figures | {
        "hf_requests_per_second": hf,
        "to_hf": round(figures["warm_requests_per_second"] / hf, 2),
    }


def _measured(bench: Bench, model: str) -> Figures:
    service, documents = bench.service, bench.scale.speed_documents
    service.run(bench.body(1, model=model))  # from here on the service's own processes have started
    cold, warm, alone = [], [], []
    for _ in range(bench.scale.speed_rounds):
        service.release()
        cold.append(timed(bench, model))
        warm.append(timed(bench, model))
        service.release()
        theirs, took = bench.lm_eval(documents, dtype=bench.dtype(model), model=model)
        alone.append(took)
    figures: Figures = {"documents": documents, "rounds": bench.scale.speed_rounds}
    figures |= {f"cold_{name}": _median(cold, name) for name in cold[0] if name != "job"}
    figures |= {f"warm_{name}": _median(warm, name) for name in WARM}
    figures["lm_eval_wall_seconds"] = wall = round(statistics.median(alone), 2)
    figures["cold_to_lm_eval"] = round(figures["cold_wall_seconds"] / wall, 3)
    figures["warm_to_lm_eval"] = round(figures["warm_wall_seconds"] / wall, 3)
    found = difference(outcome(service, cold[-1]["job"]), (theirs.results, theirs.samples))
    return figures | found.figures()


WARM = ("wall_seconds", "requests_per_second", "tokens_per_second", "busy_percent", "utilization_percent")


def timed(bench: Bench, model: str, tasks: Sequence[str] = ("gpu_choice",), **fields: Any) -> Figures:
    """A job and what it took, on whatever is loaded."""
    service = bench.service
    with bench.watch() as watch:
        job = service.run(bench.body(bench.scale.speed_documents, tasks, model, **fields))
    replica = job["replicas"][-1]
    loaded = seconds(replica["serving_at"])
    phases = _phases(service.events(job["id"]))
    begun = max(loaded, next(at for phase, at in phases if phase != "preparing"))
    answered = next(at for phase, at in phases if phase == "scoring")
    span = max(answered - begun, 1e-3)
    load = service.results(job["id"])["evalq"]["engines"][-1]["load_seconds"]
    start = loaded - seconds(replica["placed_at"])
    return {
        "job": job["id"],
        "wall_seconds": round(seconds(job["ended_at"]) - seconds(job["created_at"]), 2),
        "interpreter_seconds": round(start - load, 2),
        "weights_seconds": round(load, 2),
        "answering_seconds": round(span, 2),
        "requests_per_second": round(job["progress"]["total"] / span, 1),
        "tokens_per_second": round(_tokens(bench, job["id"]) / span),
        "busy_percent": round(100 * job["gpu_seconds"] / span, 1),
        "utilization_percent": watch.utilization(begun, answered),
        "peak_memory_gib": watch.peak_gib(),
    }


def _phases(events: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """The job's phases and when it entered them: past preparing there are chunks to be claimed."""
    return [
        (event["data"]["phase"], seconds(event["at"])) for event in events if event["type"] == "job.phase"
    ]


def _tokens(bench: Bench, job_id: str) -> int:
    """Of all prompts with their continuations."""
    tokenizer = AutoTokenizer.from_pretrained(bench.model)
    _, samples = outcome(bench.service, job_id)
    asked = [
        arguments for rows in samples.values() for row in rows for arguments in row["arguments"].values()
    ]
    texts = [f"{arguments['arg_0']}{arguments['arg_1']}" for arguments in asked]
    return sum(len(ids) for ids in tokenizer(texts)["input_ids"])


def _median(runs: list[Figures], name: str) -> float | None:
    values = [run[name] for run in runs if run[name] is not None]
    return round(statistics.median(values), 2) if values else None
