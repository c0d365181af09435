"""Where a job stands in the line, and why others stand before it: read from the line, not decided here."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.line import Account, InLine


class Why(StrEnum):
    """Why a job is served before another one."""

    PRIORITY = "priority"
    SHARE = "share"
    """Its team, or its owner in the same team, had less of the devices lately."""
    EARLIER = "earlier"
    """It came before, and is the same owner's, or shares were not weighed for the later one yet."""
    SHORTER = "shorter"
    """It is its owner's, too, and takes less."""


@dataclass(frozen=True)
class Rank:
    """A job's place among those that wait."""

    position: int
    """1 is served next."""
    ahead: dict[Why, int]
    """How many jobs are ahead, by why; no reason of which there is none."""


@dataclass(frozen=True)
class Queued:
    """A job that waits in the line."""

    job: InLine
    weighed: bool = True
    """Its turn was given by shares; else it stands as it came."""


def ranks(line: Sequence[Queued]) -> list[Rank]:
    """The place of each job of the line, in its order."""
    found: list[Rank] = []
    of_priority: Counter[int] = Counter()
    own: dict[tuple[int, Account], list[datetime]] = defaultdict(list)
    for passed, queued in enumerate(line):
        job = queued.job
        mine = own[job.priority, (job.team, job.owner)]
        equals = of_priority[job.priority]
        earlier = bisect_left(mine, job.since) if queued.weighed else equals
        ahead = {
            Why.PRIORITY: passed - equals,
            Why.SHARE: equals - len(mine) if queued.weighed else 0,
            Why.EARLIER: earlier,
            Why.SHORTER: len(mine) - earlier if queued.weighed else 0,
        }
        found.append(Rank(passed + 1, {why: number for why, number in ahead.items() if number}))
        of_priority[job.priority] += 1
        insort(mine, job.since)
    return found


def why(first: InLine, queued: Queued) -> Why:
    """Why the first stands before the job."""
    job = queued.job
    if first.priority != job.priority:
        return Why.PRIORITY
    if not queued.weighed:
        return Why.EARLIER
    if (first.team, first.owner) != (job.team, job.owner):
        return Why.SHARE
    return Why.EARLIER if first.since < job.since else Why.SHORTER
