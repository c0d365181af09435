"""Run campaigns: `python -m tests.faults --faults 100 --seed 7`. Exit status 1 if anything did not hold."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from tests.faults import real_kills, recovery, walk
from tests.faults.campaign import Plan, run
from tests.faults.clients import Engines
from tests.faults.failpoints import PLAYERS, walk_points


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=50, help="how many faults to do")
    parser.add_argument("--seed", type=int, default=None, help="draws the faults; printed where not given")
    parser.add_argument("--lease", type=float, default=4.0, help="time to live of a lease, in seconds")
    parser.add_argument("--pause", type=float, default=2.0, help="mean seconds from one fault to the next")
    parser.add_argument("--places", type=int, default=3, help="jobs that the coordinator runs at once")
    parser.add_argument(
        "--only", action="append", default=[], help="this kind (or --recovery row) only; repeatable"
    )
    parser.add_argument("--keep", type=Path, help="keep logs in this (short, new) folder")
    parser.add_argument("--hf", action="store_true", help="twenty SIGKILLs over one job of the HF engine")
    parser.add_argument("--vllm", action="store_true", help="the same over one of vLLM, as it runs on a CPU")
    parser.add_argument("--recovery", action="store_true", help="measure the table of docs/operations.md")
    parser.add_argument("--points", action="store_true", help="visit every fail point once")
    parser.add_argument(
        "--engines",
        type=Engines,
        default=Engines.MIXED,
        choices=list(Engines),
        help="engines take one chunk at a time, or stream; by default some do one and some the other",
    )
    parser.add_argument(
        "--only-part", action="append", default=[], choices=PLAYERS, help="with --points: of it"
    )
    parser.add_argument("--only-point", default="", help="with --points: those whose name holds this")
    given = parser.parse_args()
    if given.points:
        points = [point for point in walk_points(given.only_part) if given.only_point in str(point)]
        tally = walk.run(points, lambda line: print(line, flush=True), given.keep, given.engines)  # noqa: T201
        print("\n".join(tally.lines()), flush=True)  # noqa: T201
        return 1 if tally.violations else 0
    if given.recovery:
        recovery.run(lambda line: print(line, flush=True), given.keep, given.only)  # noqa: T201
        return 0
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)  # noqa: T201
    if given.hf or given.vllm:
        subject = real_kills.VLLM if given.vllm else real_kills.HF
        wrong = real_kills.run(subject, seed, lambda line: print(line, flush=True), given.keep)  # noqa: T201
        print("\n".join(f"VIOLATION {words}" for words in wrong))  # noqa: T201
        return 1 if wrong else 0
    kinds = tuple(given.only[i % len(given.only)] for i in range(given.faults)) if given.only else ()
    plan = Plan(
        seed, given.faults, given.lease, given.pause, places=given.places, kinds=kinds, engines=given.engines
    )
    report = run(plan, lambda line: print(line, flush=True), given.keep)  # noqa: T201
    print("\n".join(report.lines()), flush=True)  # noqa: T201
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
