"""How far off it was what jobs were told when they came, and while they waited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from statistics import median

from app.domain.calibration import Calibration, Fared, step
from app.domain.demands import Learnt
from app.domain.estimates import KNOWN, LIKE
from app.domain.forecast import Forecast, forecast
from app.domain.placement import Demand, Group
from app.domain.replica import Replica
from app.domain.virtual_cluster import Snapshot
from app.domain.virtual_work import JobWork, VirtualJob
from benchmarks.scheduling.simulator import Simulation
from benchmarks.scheduling.traces import COST_PER_SECOND

UNFELT = 10.0
"""Seconds that nobody minds: shorter waits are as good as such a one."""

AGAIN = 600.0
"""Seconds between two moments at which one of those that wait is told of again."""


@dataclass(frozen=True)
class Told:
    """What was told of a job at one moment."""

    job: VirtualJob
    at: float
    came: bool
    """It was told for the first time; else it waited already."""
    found: Forecast

    @property
    def true(self) -> float:
        """Seconds that the job waited from then on."""
        return inf if self.job.began is None else self.job.began - self.at

    @property
    def factor(self) -> float:
        """By how much the start was wrong: 1 is right."""
        true, told = max(self.true, UNFELT), max(self.found.start or 0.0, UNFELT)
        return max(true, told) / min(true, told)

    @property
    def width(self) -> float:
        """The latest start that was told by the soonest."""
        high = inf if self.found.start_high is None else self.found.start_high
        return (high + UNFELT) / ((self.found.start_low or 0.0) + UNFELT)

    def fared(self, now: float) -> Fared | None:
        """What is known of it by now; None of a job that may still begin in its range."""
        low, start, high = self.found.start_low, self.found.start, self.found.start_high
        waited = (now if self.job.began is None else self.job.began) - self.at
        if low is None or start is None or high is None or (self.job.began is None and waited <= high):
            return None
        return Fared(low, start, high, waited)

    @property
    def inside(self) -> bool:
        """Whether the start lay in the range that was told."""
        high = inf if self.found.start_high is None else self.found.start_high
        return (self.found.start_low or 0.0) <= self.true <= high


class Estimates:
    """Asks for a forecast of some jobs when the scheduler first sees them, and of one that waits now and then."""

    def __init__(self, simulation: Simulation, most: int) -> None:
        self._told: list[Told] = []
        self._simulation = simulation
        self._every = max(len(simulation.jobs) // most, 1)
        self._seen: set[int] = set()
        self._again_at = AGAIN
        self._learnt: dict[tuple[VirtualJob, int], Told] = {}
        """From what was told before anything was learnt, once for each double of the seconds, as in the service."""
        simulation.looks.append(self._look)

    def told(self, *, came: bool) -> list[Told]:
        """When jobs came, or while they waited; where nothing could be told it is left out."""
        return [each for each in self._told if each.came == came and each.found.start is not None]

    def _look(
        self, now: datetime, groups: Sequence[Group], replicas: Sequence[Replica], demands: Sequence[Demand]
    ) -> None:
        claims = sorted(
            (claim for demand in demands for claim in demand.claims), key=lambda claim: claim.turn
        )
        line = [claim.job.int - 1 for claim in claims]
        asked = self._asked(line)
        if not asked:
            return
        cluster, jobs = self._simulation.cluster, self._simulation.jobs
        rules = self._simulation.policy, self._simulation.sharing, dict(cluster.used)
        usual = _usual(self._simulation)
        work = [_thought(jobs[number], cluster.learnt(jobs[number].key), usual) for number in line]
        found = forecast(Snapshot(now, groups, replicas, *rules), work)
        ranges = Calibration(each for told in self._learnt.values() if (each := told.fared(cluster.time)))
        for number, came in asked.items():
            ranged = ranges.widened(found[jobs[number].work.line.id])
            self._told.append(Told(jobs[number], cluster.time, came, ranged))
        for job in (jobs[number] for number in line if jobs[number].began is None):
            self._note(Told(job, cluster.time, True, found[job.work.line.id]))

    def _note(self, told: Told) -> None:
        if told.found.start is not None:
            self._learnt.setdefault((told.job, step(told.found.start)), told)

    def _asked(self, line: Sequence[int]) -> dict[int, bool]:
        """Of whom it is asked now, and whether they came just now."""
        new = set(line) - self._seen
        self._seen |= new
        asked = dict.fromkeys((number for number in sorted(new) if number % self._every == 0), True)
        time, jobs = self._simulation.cluster.time, self._simulation.jobs
        waiting = [number for number in line if number not in new and jobs[number].began is None]
        if waiting and time >= self._again_at:
            self._again_at = time + AGAIN
            asked[waiting[len(self._told) % len(waiting)]] = False
        return asked


def _usual(simulation: Simulation) -> timedelta:
    """What engines of which nothing is known are thought to take to load."""
    known = [load for job in simulation.jobs if (load := simulation.cluster.learnt(job.key).load_seconds)]
    return timedelta(seconds=median(known)) if known else simulation.policy.load


def _thought(job: VirtualJob, learnt: Learnt, load: timedelta) -> JobWork:
    """What is left of a job, as it is thought to be; the rules know of its engine what the scheduler knows."""
    part = job.open / job.work.seconds
    cost = job.work.demand.waiting_cost * part
    chunks = max(round(job.open / job.chunk), 1)
    demand = replace(
        job.work.demand,
        waiting_cost=cost,
        waiting_chunks=chunks,
        speed=learnt.speed,
        load_seconds=learnt.load_seconds,
    )
    speed = learnt.speed or COST_PER_SECOND
    spread = KNOWN if learnt.speed else LIKE
    takes = learnt.load_seconds or load.total_seconds()
    return JobWork(job.work.line, demand, max(cost / speed, 1e-3), takes, spread)
