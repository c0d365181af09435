"""What jobs ask of engines, put together: jobs that need the same engine in the same place share its replicas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from app.domain.placement import Demand


@dataclass(frozen=True)
class Learnt:
    """What an engine took the last times; None is not known."""

    load_seconds: float | None = None
    speed: float | None = None
    """Cost that one replica answers in a second."""


NOTHING_LEARNT = Learnt()


def usual_speed(learnt: Iterable[Learnt]) -> float | None:
    """Of an engine of which nothing is known, among these."""
    known = [each.speed for each in learnt if each.speed]
    return median(known) if known else None


def merged(demands: Iterable[Demand]) -> list[Demand]:
    """One for each engine and group, at the place of the first of those it is made of."""
    found: dict[tuple[str, str | None], list[Demand]] = {}
    for one in demands:
        found.setdefault((one.engine.key, one.group), []).append(one)
    return [parts[0] if len(parts) == 1 else _joined(parts) for parts in found.values()]


def _joined(parts: Sequence[Demand]) -> Demand:
    """As many replicas as the job that wants most of them; where one leaves it to the work, at least so many."""
    asked = max(each.replicas or each.least for each in parts)
    fixed = all(each.replicas is not None for each in parts)
    return replace(
        parts[0],
        since=min(each.since for each in parts),
        waiting_chunks=sum(each.waiting_chunks for each in parts),
        waiting_cost=sum(each.waiting_cost for each in parts),
        replicas=asked if fixed else None,
        least=asked,
        least_bytes=max(each.least_bytes or 0 for each in parts) or None,
        claims=tuple(claim for each in parts for claim in each.claims),
    )
