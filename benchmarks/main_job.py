"""evalq beside `lm_eval run`: interleaved runs of the same job, medians and ratios, as a Markdown table.

    .venv/bin/python benchmarks/main_job.py [--rounds 3]

Everything runs on CPU with one thread per engine: a tiny Llama for the comparison with lm_eval, SmolLM2-135M where
computing has to outweigh everything else. Ratios are what counts; machines are noisy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from app.settings import Settings  # noqa: E402
from tests.e2e.stack import Stack  # noqa: E402
from tests.servers import running_postgres, running_valkey  # noqa: E402
from tests.tiny_models import hf_python, tiny_llama  # noqa: E402

TASKS = ROOT / "benchmarks" / "tasks"
BATCH_SIZE = 8
CHOICES = 4
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


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


@contextmanager
def service() -> Iterator[Stack]:
    """The whole service with two CPU slots, on servers of its own."""
    cache = Settings().cache_dir
    with (
        tempfile.TemporaryDirectory(prefix="evalq-bench-") as name,
        running_postgres(Path(name) / "pg") as postgres,
        running_valkey(Path(name) / "valkey") as redis_url,
        postgres.database() as database_url,
    ):
        env = QUIET | {
            "EVALQ_DATABASE_URL": database_url,
            "EVALQ_REDIS_URL": redis_url,
            "EVALQ_DATA_DIR": f"{name}/data",
            "EVALQ_TASK_PATHS": str(TASKS),
            "EVALQ_MODEL_PATHS": str(cache / "models"),
            "EVALQ_IDLE_SECONDS": "8",  # longer than the largest job prepares: its replica stays warm
        }
        with Stack(env, Path(name)) as stack:
            yield stack


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


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


def run(stack: Stack, job: dict[str, Any]) -> None:
    """Post a job and follow its stream to the end: asking again and again would cost what is measured."""
    job_id = stack.submit(job)
    with stack.http.stream("GET", f"/jobs/{job_id}/events", timeout=None) as stream:
        for _ in stream.iter_lines():
            pass
    assert stack.job(job_id)["status"] == "succeeded", stack.job(job_id)


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
    with service() as stack:
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
