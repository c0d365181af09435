"""Replicas as those see them who would have their devices: who wants them, and when they may be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

from app.domain.placement.sites import Site
from app.domain.placement.values import Policy
from app.domain.placement.wishes import Wish
from app.domain.replica import Replica, ReplicaStatus

LOADS = 8
"""A replica works for so many times what its loading took before others of its priority get its devices: of their time
a ninth at most is spent on loading."""

MOST_LOADS = 32
"""Who is ahead waits as long as they take themselves, but no longer than this: long jobs lose little by waiting."""

FAR = 2**31
"""Behind everybody in line."""


def ripening(load: float, policy: Policy) -> tuple[float, float, float]:
    """Seconds of work after which an engine may give way to more than before: its hold, its turn, and twice that."""
    hold = policy.hold.total_seconds()
    turn = max(hold, LOADS * load)
    return (hold, turn, 2 * turn)


@dataclass(eq=False, slots=True)
class Tenant:
    """A replica where work is taken."""

    replica: Replica
    site: Site
    mask: int
    wishes: Sequence[Wish]
    size: int
    priority: int = -1
    plain: int = FAR
    worked: float = -inf
    """Seconds since it was loaded."""
    left: float = 0.0
    """Seconds until it has nothing to do, if its work goes on as it went; inf where nobody knows."""
    lone: bool = False
    """Somebody has no other replica."""
    load: float = 0.0
    """Seconds that loading it again would take."""
    hold: float = 0.0
    turn: float = 0.0
    """Seconds that it works before those ahead in line get its devices."""
    protected: bool = False
    """Its devices are its team's by quota."""
    pledged: bool = False
    """It goes, or it stands on devices that are reserved."""

    @classmethod
    def of(
        cls, replica: Replica, site: Site, wishes: Sequence[Wish], policy: Policy, now: datetime
    ) -> Tenant:
        """As it stands now."""
        tenant = cls(replica, site, site.mask(replica.devices), wishes, len(replica.devices))
        for wish in wishes:
            tenant.priority = max(tenant.priority, wish.demand.priority)
            tenant.plain = min(tenant.plain, wish.plain)
            tenant.load = max(tenant.load, wish.load(policy))
            tenant.left = max(tenant.left, _left(wish, replica))
            tenant.lone = tenant.lone or len(wish.replicas) < 2
            if wish.entitled:
                tenant.protected = tenant.protected or replica in wish.replicas[: wish.entitled]
        tenant.hold, tenant.turn, _ = ripening(tenant.load, policy)
        if replica.status is ReplicaStatus.SERVING and replica.serving_at:
            tenant.worked = (now - replica.serving_at).total_seconds()
        else:
            tenant.left += tenant.load
        return tenant

    @property
    def rank(self) -> tuple[object, ...]:
        """Who gives way first: borrowers, low priorities, those with company, small ones, the last in line."""
        newest = (self.replica.placed_at, self.replica.id.int)
        return (self.protected, self.priority, self.lone, self.size, -self.plain, *newest)

    def yields_in(self, wish: Wish) -> float:
        """Seconds until it may be taken away for this demand: 0 is now, inf is never."""
        first = self._works_first(wish)
        if first == inf or self.worked < 0:
            return inf
        if self.worked < 2 * self.turn and self.left <= self.load:
            return max(first - self.worked, self.left)
        return max(first - self.worked, 0.0)

    def _works_first(self, wish: Wish) -> float:
        """For how many seconds, before this demand may have its devices."""
        if self.protected and not wish.entitled:
            return inf
        if (wish.entitled and not self.protected) or wish.demand.priority > self.priority:
            return self.hold
        if wish.demand.priority == self.priority and all(len(each.replicas) > 1 for each in self.wishes):
            return self.turn
        return max(self.turn, self._worth(wish)) if wish.plain < self.plain else inf

    def _worth(self, wish: Wish) -> float:
        """Seconds that a demand waits because it takes as long itself."""
        return min(wish.first_seconds() or 0.0, MOST_LOADS * self.load)


def _left(wish: Wish, replica: Replica) -> float:
    speed = wish.demand.speed or replica.cost_per_second
    return wish.demand.waiting_cost / speed / max(len(wish.replicas), 1) if speed else inf
