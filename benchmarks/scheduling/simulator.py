"""The same rules as in the scheduler, on a trace, with what is seen on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from app.domain.line import Sharing
from app.domain.placement import Decision, Demand, Group, Policy, Start, place
from app.domain.replica import DeviceState, Replica
from app.domain.virtual_cluster import Pace, Snapshot, VirtualCluster
from benchmarks.scheduling.traces import NOW, Trace

Look = Callable[[datetime, Sequence[Group], Sequence[Replica], Sequence[Demand]], None]


class Simulation:
    """A trace run to its end, or for so many seconds."""

    def __init__(self, trace: Trace, pace: Pace | None = None, policy: Policy | None = None) -> None:
        self.trace = trace
        self.policy = policy or Policy()
        self.sharing = Sharing()
        there = Snapshot(NOW, trace.groups, [], self.policy, self.sharing)
        self.cluster = VirtualCluster(there, pace or Pace(), self._place)
        self.jobs = [self.cluster.come(each.work, each.after) for each in trace.arrivals]
        self.looks: list[Look] = []
        self.starts: Counter[str] = Counter()
        """Loads, by engine."""
        self.wanted_seconds = 0.0
        """In which somebody waited for devices."""
        self.unused_seconds = 0.0
        """Of devices that were free meanwhile."""
        self._seen: tuple[float, int] | None = None

    def run(self, seconds: float = 90 * 86400.0) -> Simulation:
        """Go on until every job has ended, or the time is over."""
        self.cluster.run(10**7, seconds)
        return self

    def flow(self) -> float:
        """Seconds from a job's coming to its end, in the mean."""
        flows = [
            (job.ended or self.cluster.time) - each.after
            for job, each in zip(self.jobs, self.trace.arrivals, strict=True)
        ]
        return sum(flows) / len(flows)

    def unused(self) -> float:
        """Part of the devices that was free while somebody waited for some."""
        return self.unused_seconds / max(self.wanted_seconds * self.trace.gpus, 1.0)

    def used(self) -> dict[str, float]:
        """Device seconds by owner."""
        return {owner: seconds for (_, owner), seconds in self.cluster.used.items()}

    def _place(
        self,
        now: datetime,
        groups: Sequence[Group],
        replicas: Sequence[Replica],
        demands: Sequence[Demand],
        policy: Policy,
    ) -> list[Decision]:
        for look in self.looks:
            look(now, groups, replicas, demands)
        decisions = place(now, groups, replicas, demands, policy)
        starts = [each for each in decisions if isinstance(each, Start)]
        free = sum(d.state is DeviceState.FREE for g in groups for d in g.devices)
        free -= sum(len(start.devices) for start in starts)
        begun = {start.engine.key for start in starts}
        self._integrate((now - NOW).total_seconds(), free, replicas, demands, begun)
        self.starts.update(start.engine.key for start in starts)
        return decisions

    def _integrate(
        self, time: float, free: int, replicas: Sequence[Replica], demands: Sequence[Demand], begun: set[str]
    ) -> None:
        """Devices that are free after a turn are unused until the next one, where somebody waits for devices."""
        if self._seen:
            before, unused = self._seen
            self.wanted_seconds += time - before
            self.unused_seconds += unused * (time - before)
        served = {replica.engine.key for replica in replicas} | begun
        waits = any(demand.engine.key not in served for demand in demands)
        self._seen = (time, free) if waits else None


def jain(shares: Sequence[float]) -> float:
    """1 where all have the same, one by how many where one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares) or 1.0)
