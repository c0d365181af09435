"""A dense Llama in vLLM, by each of its model runners: what the engine says of itself, and the seconds to its start."""

from __future__ import annotations

from pathlib import Path

from tests.gpu.bench import ALL_TASKS, Bench, Figures, seconds
from tests.gpu.difference import Samples, difference, outcome
from tests.gpu.engines import RUNNER, VLLM

WEIGHTS = 0.05
"""Of what was reckoned; figures are told to a hundredth of a GiB."""

CACHES = ("VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR")


def starts(bench: Bench) -> Figures:
    """Cold is a start with nothing compiled, warm is the next one. The runners' answers are near each other."""
    figures: Figures = {}
    answers: list[tuple[Figures, Samples]] = []
    for choice in bench.engines[VLLM].runners:
        bench.service.release()
        cache = bench.folder / f"compiled-{choice}"
        engine, cold, first = _started(bench, choice, cache)
        answers.append(outcome(bench.service, first["id"]))
        bench.service.release()
        _, warm, second = _started(bench, choice, cache)
        told = ("model_runner", "dtype", "attention", "eager", "max_length", "max_num_seqs", "versions")
        figures[engine["model_runner"]] = {
            "cold_start_seconds": cold,
            "warm_start_seconds": warm,
            **{name: engine[name] for name in told},
            "memory": _reckoned(first, second),
        }
    bench.service.release()
    if len(answers) == 1:
        return figures | {"between_runners": f"not run: {RUNNER}=1 needs a GPU"}
    found = difference(answers[1], answers[0])
    assert found.near, found
    return figures | {"between_runners": found.figures()}


def _reckoned(first: Figures, second: Figures) -> Figures:
    """What the first plan reckoned from the model's files, beside what the second knew from the first one's engine."""
    before, measured = first["plan"]["memory"], second["plan"]["measured"]
    assert measured, second["plan"]
    assert abs(before["weights_gib"] - measured["weights_gib"]) <= WEIGHTS * before["weights_gib"] + 0.01, (
        before,
        measured,
    )
    return {"reckoned": before, "measured": measured}


def _started(bench: Bench, choice: str, cache: Path) -> tuple[Figures, float, Figures]:
    """The engine as the result names it, the seconds from its placement until it serves, and the job."""
    env = {RUNNER: choice} | {name: str(cache / name) for name in CACHES}
    job = bench.service.run(bench.body(bench.scale.parity_documents, ALL_TASKS, VLLM, env=env))
    (engine,) = bench.service.results(job["id"])["evalq"]["engines"]
    assert engine["model_runner"] == ("v2" if choice == "1" else "v1"), engine
    assert engine["dtype"] == bench.dtype(VLLM), engine
    assert engine["max_length"] == bench.scale.model["max_position_embeddings"], engine
    assert any((cache / CACHES[0]).rglob("*")) or engine["eager"], "nothing was compiled"
    (replica,) = job["replicas"]
    return engine, round(seconds(replica["serving_at"]) - seconds(replica["placed_at"]), 2), job
