"""How far off it is what waiting jobs are told of their start: jobs of two engines on one slot, in real processes.

    .venv/bin/python -m benchmarks.estimates [--jobs 6]

Engines echo, so that nothing but the rules, and what was learnt, is measured. The queue is read again and again: what
a job is told there of its start is held against the moment at which it waits no more.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from app.settings import Settings
from benchmarks.service import run, service
from tests.client import TERMINAL
from tests.e2e.stack import Stack
from tests.tiny_models import tiny_llama

UNFELT = 10.0
"""Seconds that nobody minds: shorter waits are as good as such a one."""

DELAYS = (0.1, 0.11)
"""Seconds for each request: two engines, since each is another one."""

HOLD = "10"
"""Seconds; short, so that engines give way to each other while somebody looks on."""


@dataclass(frozen=True)
class Told:
    """What a job was told at one moment."""

    job: str
    at: float
    low: float | None
    start: float | None
    high: float | None


@dataclass(frozen=True)
class Checked:
    """The same when it was known."""

    told: Told
    true: float

    @property
    def factor(self) -> float:
        """1 is right."""
        true, told = max(self.true, UNFELT), max(self.told.start or 0.0, UNFELT)
        return max(true, told) / min(true, told)

    @property
    def inside(self) -> bool:
        """Whether the start lay in the range that was told."""
        return (self.told.low or 0.0) <= self.true <= (self.told.high or float("inf"))


def body(engine: int, seed: int, documents: int) -> dict[str, Any]:
    """A job of four requests for each document."""
    return {
        "model": "echo",
        "model_args": {"pretrained": str(tiny_llama(Settings().cache_dir)), "delay_seconds": DELAYS[engine]},
        "tasks": ["bench_choice"],
        "limit": documents,
        "replicas": 1,
        "seed": seed,
        "reuse_responses": False,
    }


def watched(stack: Stack, jobs: list[str]) -> list[tuple[float, dict[str, Told]]]:
    """Who waits, and what they are told, until all have ended."""
    seen: list[tuple[float, dict[str, Told]]] = []
    while not all(stack.job(job)["status"] in TERMINAL for job in jobs):
        at, queue = time.monotonic(), stack.http.get("/queue").json()["data"]
        seen.append((at, {each["id"]: _told(each, at) for each in queue}))
        time.sleep(0.5)
    return seen


def _told(waiting: dict[str, Any], at: float) -> Told:
    found = waiting["estimate"] or dict.fromkeys(("start_low_seconds", "start_seconds", "start_high_seconds"))
    low, high = found["start_low_seconds"], found["start_high_seconds"]
    return Told(waiting["id"], at, low, found["start_seconds"], high)


def checked(seen: list[tuple[float, dict[str, Told]]]) -> list[Checked]:
    """What was told, with when each of the jobs went on."""
    found: list[Checked] = []
    goes_on: dict[str, float] = {}
    later = seen[-1][0]
    for at, waiting in reversed(seen):
        goes_on = {job: goes_on.get(job, later) for job in waiting}
        found += [Checked(told, goes_on[job] - at) for job, told in waiting.items() if told.start is not None]
        later = at
    return found


def measured(stack: Stack, count: int) -> list[Checked]:
    """Some jobs posted at once, after one of each engine."""
    for engine in range(len(DELAYS)):
        run(stack, body(engine, 1, 10))
    jobs = [stack.submit(body(number % len(DELAYS), 10 + number, 20)) for number in range(count)]
    return checked(watched(stack, jobs))


def main() -> None:
    """Print the shares of what was right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=6)
    count = parser.parse_args().jobs
    with service(1, EVALQ_HOLD_SECONDS=HOLD, EVALQ_ECHO_ENGINE="true") as stack:
        found = measured(stack, count)
    right = sum(each.factor <= 1.5 for each in found) / len(found)
    inside = sum(each.inside for each in found) / len(found)
    half = median(each.factor for each in found)
    print(
        f"{len(found)} starts told: {right:.0%} within 1.5, half within {half:.2f}; {inside:.0%} in the range"
    )


if __name__ == "__main__":
    main()
