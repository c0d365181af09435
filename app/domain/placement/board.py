"""What may still be given out while the demands are served one after the other, and how a demand gets it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from app.domain.placement.sites import Shelves, Site
from app.domain.placement.tenants import Tenant
from app.domain.placement.values import Decision, Policy, Release, Start
from app.domain.placement.wishes import Kind, Wish, wishes_of
from app.domain.replica import Replica

Item = TypeVar("Item")


class Board:
    """Decisions so far, and what is left; each way to devices is tried once for each kind of demand."""

    def __init__(
        self,
        now: datetime,
        policy: Policy,
        sites: Sequence[Site],
        tenants: Sequence[Tenant],
        by_engine: Mapping[str, Sequence[Wish]],
    ) -> None:
        self.now, self.policy, self.sites = now, policy, sites
        self.decisions: list[Decision] = []
        self.released: set[UUID] = set()
        self.shelves = Shelves(sites)
        self.busy = sorted((tenant for tenant in tenants if tenant.wishes), key=lambda tenant: tenant.rank)
        self._widest = max((tenant.size for tenant in self.busy), default=0)
        self.by_site: dict[Site, list[Tenant]] = defaultdict(list)
        self._by_engine = by_engine
        unwanted = [tenant for tenant in tenants if not tenant.wishes]
        self._idle = sorted(unwanted, key=lambda t: (t.replica.idle_since or now, t.replica.id.int))
        for tenant in (*self._idle, *self.busy):
            self.by_site[tenant.site].append(tenant)
            tenant.site.idle |= 0 if tenant.wishes else tenant.mask
        self._leaving = [site for site in sites if site.soon]
        self.hopeless: set[Kind | None] = set()
        """Demands of these kinds find nothing that is not reserved."""
        self._none_free: set[Kind] = set()
        self._tried: dict[str, dict[Kind, int]] = defaultdict(dict)

    def start(self, wish: Wish) -> bool:
        """On free devices of the fullest group that has a block."""
        if wish.kind in self._none_free:
            return False
        for site in self.shelves.least(wish.need):
            if found := site.block(site.free & site.fit(wish), wish.need):
                self.shelves.take(site, found)
                self.begin(wish, site, found)
                return True
        if wish.kind:
            self._none_free.add(wish.kind)
        return False

    def begin(self, wish: Wish, site: Site, block: int) -> None:
        """Start it on devices that were kept for it; while it rests they stay kept."""
        if wish.demand.resting:
            return
        self.decisions.append(Start(site.name, site.names(block), wish.demand.engine))
        for each in self._by_engine[wish.demand.engine.key]:
            each.coming += each.demand.group in (None, site.name)

    def wait(self, wish: Wish) -> bool:
        """For devices that others leave already."""
        return self._first("leaving", self._leaving, wish, self._wait_at)

    def _wait_at(self, site: Site, wish: Wish) -> bool:
        block = site.block((site.free | site.soon) & site.fit(wish), wish.need) if site.soon else 0
        if block:
            self.shelves.take(site, block)
        return bool(block)

    def dislodge(self, wish: Wish, why: str) -> bool:
        """Let replicas go that nobody wants, those first that are idle longest."""
        return self._first("idle", self._idle, wish, lambda tenant, _: self._dislodge(tenant.site, wish, why))

    def _dislodge(self, site: Site, wish: Wish, why: str) -> bool:
        fit = site.fit(wish)
        among, leaving = (site.free | site.soon) & fit, []
        if (among | site.idle & fit).bit_count() < wish.need:
            return False
        for tenant in self.by_site[site]:
            if among.bit_count() < wish.need and tenant.mask & site.idle & fit:
                among |= tenant.mask & fit
                leaving.append(tenant)
        return self.clear(site, among, leaving, wish, why)

    def oust(self, wish: Wish, why: str) -> bool:
        """Let one replica go whose work gives way to this."""
        if wish.need > self._widest:
            return False
        return self._first("busy", self.busy, wish, lambda tenant, _: self._oust(tenant, wish, why))

    def _oust(self, tenant: Tenant, wish: Wish, why: str) -> bool:
        if tenant.pledged or tenant.size < wish.need or tenant.yields_in(wish):
            return False
        fit = tenant.mask & tenant.site.fit(wish)
        if fit.bit_count() < wish.need:
            return False
        return self.clear(tenant.site, fit, [tenant], wish, why)

    def clear(self, site: Site, among: int, leaving: Iterable[Tenant], wish: Wish, why: str) -> bool:
        """Release those who stand on a block of these devices, and keep it; what else they leave others may have."""
        block, soon = site.block(among, wish.need), site.soon
        for tenant in leaving:
            if tenant.mask & block:
                self.release(tenant, why)
        self.shelves.take(site, block)
        if site.soon & ~soon:
            self._leaving = [*(each for each in self._leaving if each.soon), site]
            self._tried["leaving"].clear()
            self.hopeless.clear()
        return bool(block)

    def release(self, tenant: Tenant, why: str) -> None:
        """Its devices come free for whoever is first to ask."""
        self.let_go(tenant.replica, why)
        tenant.pledged = True
        tenant.site.idle &= ~tenant.mask
        tenant.site.soon |= tenant.mask & ~tenant.site.promised
        for wish in tenant.wishes:
            wish.replicas = [replica for replica in wish.replicas if replica is not tenant.replica]

    def despair(self, wish: Wish) -> None:
        """No demand of its kind gets anything more: what is left becomes only less."""
        if wish.kind:
            self.hopeless.add(wish.kind)

    def is_exhausted(self) -> bool:
        """Whether nothing is free or will be soon, and nobody is idle."""
        return not any(site.free or site.soon or site.idle for site in self.sites)

    def let_go(self, replica: Replica, why: str) -> None:
        """Once."""
        if replica.id not in self.released:
            self.released.add(replica.id)
            self.decisions.append(Release(replica.id, why))

    def wishes_of(self, replica: Replica) -> list[Wish]:
        """Who wants it."""
        return wishes_of(replica, self._by_engine)

    def _first(
        self, way: str, items: Sequence[Item], wish: Wish, attempt: Callable[[Item, Wish], bool]
    ) -> bool:
        """Whether one of them does; those that did not do for one of its kind are not tried again."""
        tried = self._tried[way]
        begin = tried.get(wish.kind, 0) if wish.kind else 0
        for number in range(begin, len(items)):
            if attempt(items[number], wish):
                return True
            if wish.kind:
                tried[wish.kind] = number + 1
        return False
