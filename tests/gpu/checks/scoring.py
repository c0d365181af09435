"""Fast scoring beside stock, by each of vLLM's model runners, and what becomes of `auto` once it is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from app.backends.tolerances import folder_of
from app.settings import Settings
from tests.client import eventually
from tests.gpu.bench import Bench, Figures
from tests.gpu.checks.speed import timed
from tests.gpu.difference import Samples, difference, outcome
from tests.gpu.engines import HF, RUNNER, VLLM
from tests.gpu.service import GROUP

SHAPES = ("gpu_letter", "gpu_choice")
"""Letters, and sentences of several tokens."""

TOLD_SECONDS = 60.0
"""A worker tells of what was measured with its next heartbeat."""


def scoring(bench: Bench) -> Figures:
    """Largest difference, flags and documents that flip, documents a second; hf's beside them."""
    figures: Figures = {RUNNER: {}, "dtype": bench.dtype(VLLM)}
    for choice in bench.engines[VLLM].runners:
        figures[RUNNER][choice] = _beside_stock(bench, choice)
    bench.service.release()
    bench.service.run(bench.body(1))
    figures[HF] = {task: _rate(bench, HF, task)[0] for task in SHAPES}
    figures["measured"] = _measured(bench)
    return figures


def _beside_stock(bench: Bench, choice: str) -> Figures:
    stock, fast = (_answers(bench, mode, choice) for mode in ("stock", "fast"))
    return {task: _compared(bench, stock[task], fast[task]) for task in SHAPES}


Rated = tuple[float, tuple[Figures, Samples]]


def _answers(bench: Bench, mode: str, choice: str) -> dict[str, Rated]:
    """By task, from an engine that is loaded and has answered something before."""
    how: dict[str, Any] = {"scoring_mode": mode, "env": {RUNNER: choice}}
    bench.service.release()
    bench.service.run(bench.body(1, SHAPES, VLLM, **how))
    return {task: _rate(bench, VLLM, task, **how) for task in SHAPES}


def _rate(bench: Bench, model: str, task: str, **how: Any) -> Rated:
    told = timed(bench, model, (task,), **how)
    rate = bench.scale.speed_documents / told["answering_seconds"]
    return round(rate, 1), outcome(bench.service, told["job"])


def _compared(bench: Bench, stock: Rated, fast: Rated) -> Figures:
    found = difference(fast[1], stock[1])
    assert found.none if bench.dtype(VLLM) == "float32" else found.near, found
    rates = {"stock_documents_per_second": stock[0], "fast_documents_per_second": fast[0]}
    return rates | {"greedy": greedy_flips(fast[1][1], stock[1][1])} | found.figures()


def greedy_flips(ours: Samples, theirs: Samples) -> int:
    """Requests with another greedy flag."""
    pairs = [
        pair
        for task, rows in theirs.items()
        for mine, other in zip(ours[task], rows, strict=True)
        for pair in zip(mine["resps"], other["resps"], strict=True)
    ]
    return sum(one[0][1] != two[0][1] for one, two in pairs)


def _measured(bench: Bench) -> Figures:
    """What `evalq backends calibrate` finds with the group drained, and the way that `auto` takes then."""
    before = set(folder_of(Settings().cache_dir).rglob("*.json"))
    bench.service.release(resume=False)
    try:
        found = _calibrate(bench)
        bench.service.resume()
        eventually(lambda: _told(bench, found["measured_at"]), TOLD_SECONDS, "a worker that tells of it")
        job = bench.service.run(bench.body(1, model=VLLM))
    finally:
        for file in set(folder_of(Settings().cache_dir).rglob("*.json")) - before:
            file.unlink()  # the model is gone with this run, and what it was measured on says little of others
    (told,) = [each for each in _tolerances(bench) if each["measured_at"] == found["measured_at"]]
    exact = bench.gpu is None
    assert job["plan"]["scoring_mode"] == ("fast" if told["usable"] or exact else "stock"), job["plan"]
    return found | {"usable": told["usable"]}


def _calibrate(bench: Bench) -> Figures:
    engine, backend = bench.engines[VLLM], VLLM if bench.gpu else "vllm-cpu"
    args = ",".join(f"{name}={value}" for name, value in engine.args.items())
    words = ["--dtype", bench.dtype(VLLM), "--model-args", args, "--devices", bench.devices, "--json"]
    documents = str(max(bench.scale.speed_documents, 4))
    command = [sys.executable, "-m", "app.cli", "backends", "calibrate", backend, str(bench.model), *words]
    address = str(bench.service.http.base_url).removesuffix("/v1/")
    env = os.environ | bench.env | {"EVALQ_URL": address, "EVALQ_DATA_DIR": str(bench.folder / "data")}
    done = subprocess.run(
        [*command, "--documents", documents], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: Figures = json.loads(done.stdout)
    return found


def _told(bench: Bench, measured_at: str) -> bool:
    return any(each["measured_at"] == measured_at for each in _tolerances(bench))


def _tolerances(bench: Bench) -> list[Figures]:
    listed = bench.service.http.get("/backends").json()["data"]
    return [
        each
        for backend in listed
        for there in backend["installed"]
        if there["group"] == GROUP
        for each in there["tolerances"]
    ]
