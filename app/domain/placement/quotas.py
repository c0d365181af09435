"""Which replicas are a team's by its quota: the first in line of its demands, as far as the quota reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.domain.placement.sites import Site
from app.domain.placement.values import Policy
from app.domain.placement.wishes import Kind, Wish, wanted


def entitle(line: Sequence[Wish], policy: Policy, sites: Sequence[Site]) -> list[Wish]:
    """Say of each how many of its replicas are its teams'; those who have any are served before all others.

    Quotas that promise more devices than there are go to those first in line; what fits nowhere uses up none.
    """
    if not policy.quotas:
        return list(line)
    left, there = dict(policy.quotas), sum(site.usable.bit_count() for site in sites)
    rooms: dict[Kind, int] = {}
    for wish in line:
        teams = {claim.team for claim in wish.demand.claims if left.get(claim.team, 0) >= wish.need}
        if teams and there >= wish.need:
            if wish.on not in rooms:
                rooms[wish.on] = _room(wish, sites)
            most = min(rooms[wish.on], there // wish.need)
            wish.entitled = min(most, _entitled(wish, teams, left, policy))
            there -= wish.entitled * wish.need
            for team in teams:
                left[team] -= wish.entitled * wish.need
    return sorted(line, key=lambda wish: not wish.entitled)


def _room(wish: Wish, sites: Sequence[Site]) -> int:
    """Replicas for which there are devices, be they held by others or shunned for now."""
    anywhere = replace(wish, demand=replace(wish.demand, shunned=frozenset()))
    return sum(site.fit(anywhere).bit_count() // wish.need for site in sites)


def _entitled(wish: Wish, teams: set[str], left: Mapping[str, int], policy: Policy) -> int:
    """What it can use of the quotas that its teams have left."""
    most = min(left[team] for team in teams) // wish.need
    return min(most, max(wanted(wish.demand, wish.replicas, policy), len(wish.replicas), 1))
