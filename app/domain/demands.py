"""What jobs ask of engines, put together: jobs that need the same engine in the same place share its replicas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from app.domain.placement import Demand


def merged(demands: Iterable[Demand]) -> list[Demand]:
    """One for each engine and group, at the place of the first of those it is made of."""
    found: dict[tuple[str, str | None], Demand] = {}
    for one in demands:
        key = (one.engine.key, one.group)
        found[key] = _joined(found[key], one) if key in found else one
    return list(found.values())


def _joined(first: Demand, second: Demand) -> Demand:
    """As many replicas as the job that wants most of them; where one leaves it to the work, at least so many."""
    asked = max(each.replicas or each.least for each in (first, second))
    fixed = first.replicas is not None and second.replicas is not None
    return replace(
        first,
        since=min(first.since, second.since),
        waiting_chunks=first.waiting_chunks + second.waiting_chunks,
        waiting_cost=first.waiting_cost + second.waiting_cost,
        replicas=asked if fixed else None,
        least=asked,
        least_bytes=max(first.least_bytes or 0, second.least_bytes or 0) or None,
    )
