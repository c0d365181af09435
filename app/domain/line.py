"""Who is served next: by priority, and between those of one by fair shares; a pure function.

A team that used less of the devices lately goes before one that used more, and so among the owners of a team; each
job that is put in the line is counted to its owner before the next one is chosen, so that a flood of jobs holds up
nobody else. An owner's own jobs go shortest first, where their length is known, with ageing.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, islice
from uuid import UUID

TYPICAL_SECONDS = 60.0
"""Of a job of which nobody knows how long it takes."""

MOST_TURNS = 1000
"""Of so many jobs it is said whose turn it is; those behind them stand as they came."""

MOST_SECONDS = 30 * 86400.0
"""Of any estimate: what says more is none."""

Account = tuple[str, str]
"""A team, and an owner in it."""


@dataclass(frozen=True)
class InLine:
    """A job that waits or runs."""

    id: UUID
    team: str
    owner: str
    priority: int
    since: datetime
    seconds: float | None = None
    """Of one replica, that it will still take, as far as that is known."""
    devices: int = 1
    """Of one replica."""

    @property
    def expected(self) -> float:
        """The same, for reckoning."""
        return TYPICAL_SECONDS if self.seconds is None else min(max(self.seconds, 0.0), MOST_SECONDS)


@dataclass(frozen=True)
class Sharing:
    """The operator's knobs."""

    half_life: timedelta = timedelta(days=1)
    """After this a device second that was used counts half."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By team; 1 where none is given."""
    entry: timedelta = timedelta(seconds=10)
    """What each job in line counts beside what it will still take: many short ones are not free."""

    def cost(self, job: InLine) -> float:
        """Device seconds that its owner is charged when a job is given its place."""
        return job.expected * job.devices + self.entry.total_seconds()

    def weight(self, team: str) -> float:
        """How much of the devices is a team's, beside others."""
        return self.weights.get(team, 1.0)


def in_line(
    jobs: Iterable[InLine], used: Mapping[Account, float], sharing: Sharing, most: int | None = None
) -> list[InLine]:
    """The order of service, or the first so many of it; `used`: device seconds of late, decayed, by owner."""
    ranked = sorted(jobs, key=lambda job: -job.priority)
    equals = groupby(ranked, key=lambda job: job.priority)
    line = (job for _, some in equals for job in _by_share(list(some), used, sharing))
    return list(islice(line, most))


def _by_share(jobs: Sequence[InLine], used: Mapping[Account, float], sharing: Sharing) -> Iterator[InLine]:
    """Always the team that has had least, of it the owner that has had least, and of it the next job."""
    queues: dict[str, dict[str, list[InLine]]] = defaultdict(lambda: defaultdict(list))
    for job in sorted(jobs, key=_own_order, reverse=True):
        queues[job.team][job.owner].append(job)
    spent: dict[str, float] = defaultdict(float)
    for (team, _), seconds in used.items():
        spent[team] += seconds
    owners = {
        team: _heap((used.get((team, owner), 0.0), _own_order(own[-1]), owner) for owner, own in of.items())
        for team, of in queues.items()
    }
    teams = _heap((spent[team] / sharing.weight(team), owners[team][0][1], team) for team in queues)
    while teams:
        had, _, team = heapq.heappop(teams)
        owned, _, owner = heapq.heappop(owners[team])
        job = queues[team][owner].pop()
        if own := queues[team][owner]:
            heapq.heappush(owners[team], (owned + sharing.cost(job), _own_order(own[-1]), owner))
        if owners[team]:
            share = had + sharing.cost(job) / sharing.weight(team)
            heapq.heappush(teams, (share, owners[team][0][1], team))
        yield job


def _heap(
    items: Iterable[tuple[float, tuple[datetime, UUID], str]],
) -> list[tuple[float, tuple[datetime, UUID], str]]:
    heap = list(items)
    heapq.heapify(heap)
    return heap


def _own_order(job: InLine) -> tuple[datetime, UUID]:
    """Within one owner: as if it had come later by as long as it takes, so that nothing waits for ever."""
    return (job.since + timedelta(seconds=job.expected), job.id)
