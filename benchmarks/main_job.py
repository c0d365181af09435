"""evalq beside `lm_eval run`: interleaved runs of the same job, medians and ratios, as a Markdown table.

    .venv/bin/python -m benchmarks.main_job [--rounds 3]

Everything runs on CPU with one thread per engine: a tiny Llama for the comparison with lm_eval, SmolLM2-135M where
computing has to outweigh everything else. Ratios are what counts; machines are noisy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import Settings
from benchmarks.service import QUIET, TASKS, run, service, timed
from tests.e2e.stack import Stack
from tests.tiny_models import hf_python, tiny_llama

BATCH_SIZE = 8
CHOICES = 4
IDLE_SECONDS = 8
"""Longer than the largest job prepares: its replica stays warm."""


@dataclass(frozen=True)
class Pair:
    """Two ways to do the same, run in turn."""

    name: str
    goal: str
    ours: list[float]
    theirs: list[float]

    def row(self) -> str:
        """Medians and the ratio of the medians."""
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return f"| {self.name} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.3f} | {self.goal} |"


def lm_eval(model: Path, requests: int) -> None:
    """The job as `lm_eval run` does it."""
    with tempfile.TemporaryDirectory() as output:
        command = [
            *(
                str(hf_python(Settings().cache_dir)),
                "-m",
                "lm_eval",
                "run",
                "--model",
                "hf",
                "--device",
                "cpu",
            ),
            *("--model_args", f"pretrained={model},dtype=float32", "--tasks", "bench_choice"),
            *(
                "--include_path",
                str(TASKS),
                "--batch_size",
                str(BATCH_SIZE),
                "--limit",
                str(requests // CHOICES),
            ),
            *("--log_samples", "--output_path", output),
        ]
        subprocess.run(command, env=os.environ | QUIET, capture_output=True, check=True)


def body(model: Path, requests: int, **fields: Any) -> dict[str, Any]:
    """The job as it is posted."""
    return {
        "model": "hf",
        "model_args": {"pretrained": str(model), "dtype": "float32"},
        "tasks": ["bench_choice"],
        "batch_size": BATCH_SIZE,
        "limit": requests // CHOICES,
        "replicas": 1,
        "reuse_responses": False,
    } | fields


def cool_down(stack: Stack) -> None:
    """Until no engine is loaded, so that the next job is cold."""
    while any(group["replicas"] for group in stack.http.get("/groups").json()["data"]):
        time.sleep(0.2)


def against_lm_eval(
    stack: Stack, model: Path, requests: int, rounds: int, goals: tuple[str, str]
) -> list[Pair]:
    """A cold job, then a second one on its warm replica, each round beside a run of lm_eval."""
    cold, warm, theirs = [], [], []
    for _ in range(rounds):
        cool_down(stack)
        cold.append(timed(lambda: run(stack, body(model, requests))))
        warm.append(timed(lambda: run(stack, body(model, requests))))
        cool_down(stack)
        theirs.append(timed(lambda: lm_eval(model, requests)))
    return [
        Pair(f"cold job, {requests:,} requests, against `lm_eval run`", goals[0], cold, theirs),
        Pair(
            f"second job on the warm replica, {requests:,} requests, against `lm_eval run`",
            goals[1],
            warm,
            theirs,
        ),
    ]


def identical(stack: Stack, model: Path, requests: int, rounds: int) -> Pair:
    """The same job again, with every answer in the store."""
    again = body(model, requests, reuse_responses=True)
    first = timed(lambda: run(stack, again))
    times = [timed(lambda: run(stack, again)) for _ in range(rounds)]
    return Pair(
        f"identical job again, {requests:,} requests, against its first run", "under 1 s", times, [first]
    )


def two_replicas(stack: Stack, model: Path, requests: int, rounds: int) -> Pair:
    """The time from the first to the last answer, on warm replicas, two against one."""
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for replicas in (1, 2):
            cool_down(stack)
            run(stack, body(model, 2 * BATCH_SIZE * CHOICES, replicas=replicas))
            times[replicas].append(timed(lambda n=replicas: run(stack, body(model, requests, replicas=n))))
    name = f"SmolLM2-135M on 2 warm replicas, {requests:,} requests, against 1"
    return Pair(name, "at most 0.556 (1.8x)", times[2], times[1])


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    few = max(1, rounds // 2)  # runs that take minutes each
    cache = Settings().cache_dir
    tiny, smollm2 = tiny_llama(cache), cache / "models" / "smollm2-135m-instruct"
    print("| what | evalq | beside it | ratio | goal |\n|---|---|---|---|---|", flush=True)
    with service(EVALQ_IDLE_SECONDS=str(IDLE_SECONDS)) as stack:
        for pair in against_lm_eval(stack, tiny, 1500, rounds, ("at most 0.6", "at most 0.25")):
            print(pair.row(), flush=True)
        print(identical(stack, tiny, 1500, rounds).row(), flush=True)
        if smollm2.is_dir():
            print(two_replicas(stack, smollm2, 240, few).row(), flush=True)
        else:
            print("(run `make demo` first: SmolLM2 is not converted yet)")
        for pair in against_lm_eval(stack, tiny, 12_000, few, ("at most 0.8", "")):
            print(pair.row(), flush=True)


if __name__ == "__main__":
    main()
