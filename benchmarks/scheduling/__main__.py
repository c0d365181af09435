"""The table of docs/performance.md: the rules on invented days, beside what else people use.

    .venv/bin/python -m benchmarks.scheduling [--seeds 3] [--gpus 8 64 1024 4096]

Everything is in virtual time and the same again for the same seeds, but for the milliseconds of a decision.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import fmean, median

from app.domain.virtual_cluster import Pace
from benchmarks.scheduling import decision
from benchmarks.scheduling.baselines import POLICIES
from benchmarks.scheduling.estimates import Estimates, Told
from benchmarks.scheduling.simulator import Simulation, jain
from benchmarks.scheduling.traces import Mix, Trace, drawn

NARROW = (1, 1, 1, 1, 2, 2, 4)
"""Widths that static groups of 4 + 2 + 1 + 1 can serve too."""

COARSE = Pace(turn=5.0, look=15.0, slice=15.0)
"""For large clusters, on which something happens all the time."""


def makespans(seeds: Sequence[int]) -> None:
    """60 jobs on 8 GPUs, over area by GPUs or the longest chunk."""
    print("\n| makespan by lower bound | evalq |", " | ".join(POLICIES), "|\n|---|---|---|---|---|---|")
    for seed in seeds:
        trace = drawn("batch", Mix(8, 60, widths=NARROW, seconds=900), seed)
        bound = trace.area / trace.gpus
        ours = Simulation(trace).run().cluster.time / bound
        others = [max(policy(trace).values()) / bound for policy in POLICIES.values()]
        print(f"| seed {seed} | {ours:.3f} |", " | ".join(f"{each:.3f}" for each in others), "|", flush=True)


def flows(sizes: Sequence[int], seeds: Sequence[int]) -> None:
    """Mean seconds from coming to ending, of jobs that come all day."""
    print("\n| flow time, load 0.85 | evalq |", " | ".join(POLICIES), "|\n|---|---|---|---|---|---|")
    for gpus in sizes:
        for seed in seeds if gpus < 1024 else seeds[:1]:
            trace = drawn(f"day on {gpus}", Mix(gpus, 200 + gpus // 2, owners=10, load=0.85), seed)
            ours = Simulation(trace, COARSE if gpus > 64 else None).run().flow()
            others = [flow(trace, policy(trace)) for policy in POLICIES.values()]
            shown = ("-" if each is None else f"{each:.0f} s" for each in others)
            print(f"| {gpus} GPUs, seed {seed} | {ours:.0f} s |", " | ".join(shown), "|", flush=True)


def flow(trace: Trace, ends: dict[int, float]) -> float | None:
    """Mean; None of a policy that left jobs out."""
    if len(ends) < len(trace.arrivals):
        return None
    return fmean(ends[number] - each.after for number, each in enumerate(trace.arrivals))


def shares(seeds: Sequence[int]) -> None:
    """Owners who always have more to do than the cluster can, for eight hours."""
    print("\n| owners, 8 hours on 16 GPUs | Jain's index |\n|---|---|")
    for owners in (2, 10, 50):
        found = []
        for seed in seeds:
            simulation = Simulation(drawn("busy", busy(owners), seed), Pace(turn=2.0, look=10.0))
            used = simulation.run(8 * 3600.0).used()
            found.append(jain([used.get(f"o{owner}", 0.0) for owner in range(owners)]))
        print(f"| {owners} | {min(found):.3f} to {max(found):.3f} |", flush=True)


def busy(owners: int) -> Mix:
    """All at once, twenty times as much as each owner's share of eight hours, one with most of it."""
    return Mix(16, max(40 * owners, 400), owners=owners, widths=(1, 1, 2, 4), seconds=1200, flood=0.3)


def gaps(seeds: Sequence[int]) -> None:
    """Devices that are free while somebody waits for some."""
    for seed in seeds:
        simulation = Simulation(drawn("wide", Mix(64, 400), seed), Pace(turn=2.0, look=10.0)).run()
        print(
            f"| free while somebody waits, widths 1 to 8 on 64 GPUs, seed {seed} | {simulation.unused():.2%} |"
        )


def estimates(seeds: Sequence[int]) -> None:
    """By how much the starts were wrong that jobs were told."""
    for gpus, seed in ((gpus, seed) for gpus in (8, 64) for seed in seeds):
        simulation = Simulation(drawn("told", Mix(gpus, 200, load=0.85), seed))
        asked = Estimates(simulation, 60)
        simulation.run()
        for when, came in (("coming", True), ("waiting", False)):
            if told := asked.told(came=came):
                print(f"| start told at {when}, {gpus} GPUs, seed {seed} | {_right(told)} |", flush=True)


def _right(told: Sequence[Told]) -> str:
    factors = [each.factor for each in told]
    right = sum(factor <= 1.5 for factor in factors) / len(told)
    inside = sum(each.inside for each in told) / len(told)
    return (
        f"{len(told)} told, {right:.0%} within 1.5, half within {median(factors):.2f}; {inside:.0%} in range, "
        f"of which half are narrower than a factor of {median(each.width for each in told):.1f}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 1024, 4096])
    told = parser.parse_args()
    seeds = range(told.seeds)
    makespans(seeds)
    flows(told.gpus, seeds)
    shares(seeds)
    print("\n| what | figure |\n|---|---|")
    gaps(seeds)
    estimates(seeds)
    for jobs, gpus in ((100, 64), (1000, 512), (10_000, 4096)):
        taken = ", ".join(
            f"{held} {decision.milliseconds(jobs, gpus, held):.1f} ms" for held in decision.Held
        )
        print(f"| one decision, {jobs} engines on {gpus} GPUs | {taken} |", flush=True)


if __name__ == "__main__":
    main()
