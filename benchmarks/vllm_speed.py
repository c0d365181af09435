"""Requests per second of vLLM through evalq and through lm-eval's own class, both warm, as a Markdown table.

    .venv/bin/python -m benchmarks.vllm_speed [--rounds 3]

The same job in turn: each side builds prompts, asks vLLM as it runs on a CPU (float32, one thread) and scores. What
they ask is alike: log-likelihoods one by one, without fast scoring.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.settings import Settings
from benchmarks.service import QUIET, TASKS, run, service, timed
from tests.e2e.stack import Stack
from tests.tiny_models import tiny_vllm_llama, vllm_python

ROOT = Path(__file__).parents[1]
ARGS = {"dtype": "float32", "enforce_eager": True, "block_size": 32, "max_num_seqs": 64}
ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_CI_ENV": "1"}
TASK = "bench_choice"
CHOICES = 4


@contextmanager
def lm_eval_loaded(model: Path, documents: int) -> Iterator[Callable[[], float]]:
    """lm-eval with its model loaded: each call does the job and returns its seconds."""
    typed = ",".join(f"{name}={value}" for name, value in {"pretrained": model, **ARGS}.items())
    words = ["-m", "benchmarks.lm_eval_loaded", typed, TASK, str(TASKS), str(documents)]
    with subprocess.Popen(
        [str(vllm_python(Settings().cache_dir)), *words],
        env=os.environ | QUIET | ON_CPU,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        asked, told = process.stdin, process.stdout

        def once() -> float:
            asked.write("again\n")
            asked.flush()
            return float(told.readline())

        yield once


def row(stack: Stack, name: str, model: Path, requests: int, rounds: int) -> str:
    """Requests a second of both, medians, and their ratio."""
    documents = requests // CHOICES
    body = {
        "model": "vllm",
        "model_args": {"pretrained": str(model), **ARGS},
        "tasks": [TASK],
        "limit": documents,
        "replicas": 1,
        "reuse_responses": False,
        "scoring_mode": "stock",
    }
    run(stack, body)
    with lm_eval_loaded(model, documents) as theirs:
        theirs()
        turns = [(timed(lambda: run(stack, body)), theirs()) for _ in range(rounds)]
    mine, other = (statistics.median(side) for side in zip(*turns, strict=True))
    cells = (
        f"{name}, {requests:,}",
        f"{requests / mine:.1f}",
        f"{requests / other:.1f}",
        f"{other / mine:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    cache = Settings().cache_dir
    print(
        "| model, requests | evalq, per second | lm-eval's class, per second | ratio |\n|---|---|---|---|",
        flush=True,
    )
    with service(EVALQ_IDLE_SECONDS="3600") as stack:
        print(row(stack, "tiny Llama", tiny_vllm_llama(cache), 4000, rounds), flush=True)
        smollm2 = cache / "models" / "smollm2-135m-instruct"
        if smollm2.is_dir():
            print(row(stack, "SmolLM2-135M", smollm2, 240, rounds), flush=True)
        else:
            print("(run `make demo` first: SmolLM2 is not converted yet)")


if __name__ == "__main__":
    main()
