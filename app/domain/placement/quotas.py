"""Which replicas are a team's by its quota: the first in line of its demands, as far as the quota reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.domain.placement.values import Policy
from app.domain.placement.wishes import Wish, wanted


def entitle(line: Sequence[Wish], policy: Policy, devices: int) -> list[Wish]:
    """Say of each how many of its replicas are its teams'; those who have any are served before all others.

    Quotas that promise more devices than there are go to those first in line.
    """
    if not policy.quotas:
        return list(line)
    left, there = dict(policy.quotas), devices
    for wish in line:
        teams = {claim.team for claim in wish.demand.claims if left.get(claim.team, 0) >= wish.need}
        if teams and there >= wish.need:
            wish.entitled = _entitled(wish, teams, left, there, policy)
            there -= wish.entitled * wish.need
            for team in teams:
                left[team] -= wish.entitled * wish.need
    return sorted(line, key=lambda wish: not wish.entitled)


def _entitled(wish: Wish, teams: set[str], left: Mapping[str, int], there: int, policy: Policy) -> int:
    """What it can use of the quotas that its teams have left."""
    most = min(there, *(left[team] for team in teams)) // wish.need
    return min(most, max(wanted(wish.demand, wish.replicas, policy), len(wish.replicas), 1))
