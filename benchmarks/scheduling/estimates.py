"""How far off it was what jobs were told when they came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.forecast import forecast
from app.domain.placement import Demand, Group
from app.domain.replica import Replica
from app.domain.virtual_cluster import Snapshot
from app.domain.virtual_work import JobWork, VirtualJob
from benchmarks.scheduling.simulator import Simulation
from benchmarks.scheduling.traces import COST_PER_SECOND

UNFELT = 10.0
"""Seconds that nobody minds: shorter waits are as good as such a one."""


class Estimates:
    """Asks for a forecast whenever the scheduler sees jobs for the first time, of some of them."""

    def __init__(self, simulation: Simulation, most: int) -> None:
        self.told: list[tuple[VirtualJob, float, float | None]] = []
        """Jobs, when they were told of, and when they would begin."""
        self._simulation = simulation
        self._every = max(len(simulation.jobs) // most, 1)
        self._seen: set[int] = set()
        simulation.looks.append(self._look)

    def factors(self) -> list[float]:
        """By how much each start was wrong: 1 is right; what was not told is left out."""
        return [
            _factor(max(job.began - asked, UNFELT), max(told, UNFELT))
            for job, asked, told in self.told
            if told is not None and job.began is not None
        ]

    def _look(
        self, now: datetime, groups: Sequence[Group], replicas: Sequence[Replica], demands: Sequence[Demand]
    ) -> None:
        claims = [claim for demand in demands for claim in demand.claims]
        new = {claim.job.int - 1 for claim in claims} - self._seen
        self._seen |= new
        asked = [self._simulation.jobs[number] for number in sorted(new) if number % self._every == 0]
        if not asked:
            return
        line = sorted(claims, key=lambda claim: claim.turn)
        there = Snapshot(
            now,
            groups,
            replicas,
            self._simulation.policy,
            self._simulation.sharing,
            dict(self._simulation.cluster.used),
        )
        found = forecast(there, [thought(self._simulation.jobs[claim.job.int - 1]) for claim in line])
        time = self._simulation.cluster.time
        self.told += [
            (job, time, found[job.work.line.id].start) for job in asked if job.work.line.id in found
        ]


def thought(job: VirtualJob) -> JobWork:
    """What is left of a job, as it is thought to be."""
    part = job.open / job.work.seconds
    cost = job.work.demand.waiting_cost * part
    chunks = max(round(job.open / job.chunk), 1)
    demand = replace(job.work.demand, waiting_cost=cost, waiting_chunks=chunks, speed=COST_PER_SECOND)
    return replace(job.work, demand=demand, seconds=max(cost / COST_PER_SECOND, 1e-3), spread=1.5)


def _factor(first: float, second: float) -> float:
    return max(first, second) / min(first, second)
