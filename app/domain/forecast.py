"""When jobs will begin and end: the rules of placement run forward from what is there, within bounds of work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.domain.virtual_cluster import Pace, Snapshot, VirtualCluster
from app.domain.virtual_work import JobWork, VirtualJob

MOST_JOBS = 300
"""Of so many jobs in line it is said when they begin; those behind them are left out."""

MOST_TURNS = 300
"""Of the scheduler, each time it is run forward."""

MOST_SECONDS = 7 * 86400.0
"""What is farther away is not told."""

GRAIN = Pace(growth=0.05)
"""The farther away, the coarser: what is told is right to a few parts in a hundred at best."""


LOOSE, LOOSE_SECONDS = 1.25, 3.0
"""By so much more a range is wider: turns of the scheduler and ends of chunks fall this way or that. Measured, such
that nine of ten starts lie inside (benchmarks/estimates.py)."""


@dataclass(frozen=True)
class Forecast:
    """Seconds from now: where everything takes as long as it is thought to, and by how much it may be wrong.

    None is not known: too far away, or there is nothing it could ever run on.
    """

    start_low: float | None = None
    start: float | None = None
    start_high: float | None = None
    end_low: float | None = None
    end: float | None = None
    end_high: float | None = None
    devices: tuple[str, ...] = ()
    """Those on which it is thought to run; none where that is not known."""


TIMES = ("start_low", "start", "start_high", "end_low", "end", "end_high")
"""Fields that are seconds."""


def forecast(there: Snapshot, work: Sequence[JobWork]) -> dict[UUID, Forecast]:
    """By job; `work` in line, of which the first so many are told of."""
    ahead = work[:MOST_JOBS]
    best, typical, worst = (_run(there, ahead, power) for power in (-1.0, 0.0, 1.0))
    return {
        job.work.line.id: Forecast(
            *_range(low.began, job.began, high.began),
            *_range(low.ended, job.ended, high.ended),
            job.devices,
        )
        for low, job, high in zip(best, typical, worst, strict=True)
    }


def _run(there: Snapshot, work: Sequence[JobWork], power: float) -> list[VirtualJob]:
    cluster = VirtualCluster(there, GRAIN)
    jobs = [cluster.come(each.taking(power)) for each in work]
    cluster.run(MOST_TURNS, MOST_SECONDS)
    return jobs


def _range(
    best: float | None, typical: float | None, worst: float | None
) -> tuple[float | None, float | None, float | None]:
    """In order, though what takes longer now and then ends earlier; no end where the middle is not known."""
    lows = [each for each in (best, typical) if each is not None]
    low = max(min(lows) / LOOSE - LOOSE_SECONDS, 0.0) if lows else None
    if typical is None or worst is None:
        return (low, typical, None)
    return (low, typical, max(typical, worst) * LOOSE + LOOSE_SECONDS)
