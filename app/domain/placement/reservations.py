"""Devices that are kept for a wide demand until the last of them comes free; who is done by then may have them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from app.domain.placement.board import Board
from app.domain.placement.sites import Site
from app.domain.placement.tenants import Tenant
from app.domain.placement.wishes import Wish

MOST = 4
"""Demands that are given a reservation in one turn: those behind them take what is left."""

LOOKED_AT = 64
"""Groups in which several devices are sought at once."""


@dataclass(eq=False)
class Reservation:
    """Devices of one group, free until then."""

    wish: Wish
    site: Site
    free: int
    seconds: float
    """Until they are needed; inf where nobody knows."""


@dataclass(frozen=True)
class _Way:
    """How a demand could come to its devices in one group."""

    seconds: float
    broken: int
    """Devices of replicas that are at work."""
    site: Site
    among: int
    leaving: tuple[Tenant, ...]


class Reservations:
    """Those of one turn."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.kept: list[Reservation] = []
        self._sought = 0

    def gather(self, wish: Wish, why: str) -> bool:
        """Let several replicas go at once where that makes a block, or reserve what will be the first one."""
        if wish.need < 2 or self._sought >= MOST:
            return False
        ways = self._ways(wish)
        if not ways:
            return False
        self._sought += 1
        best = min(
            ways, key=lambda way: (way.seconds, way.broken, way.site.usable.bit_count(), way.site.name)
        )
        if not best.seconds:
            return self._board.clear(best.site, best.among, best.leaving, wish, why)
        self._reserve(best, wish)
        return True

    def _ways(self, wish: Wish) -> list[_Way]:
        """In the groups that have most to spare; in the others only where those promise nothing."""
        sites = [site for site in self._board.sites if site.fit(wish)]
        sites.sort(key=lambda site: -(site.free | site.soon | site.idle).bit_count())
        ways = [way for site in sites[:LOOKED_AT] if (way := self._way(site, wish))]
        if all(way.seconds == inf for way in ways):
            ways += [way for site in sites[LOOKED_AT:] if (way := self._way(site, wish))]
        return ways

    def _way(self, site: Site, wish: Wish) -> _Way | None:
        fit = site.fit(wish)
        among = (site.free | site.soon | site.idle) & fit
        seconds, broken, leaving = 0.0, 0, [t for t in self._board.by_site[site] if not t.wishes]
        for due, _, tenant in self._by_time(site, wish):
            if among.bit_count() >= wish.need:
                break
            seconds, broken = due, broken + tenant.mask.bit_count()
            among |= tenant.mask & fit
            leaving.append(tenant)
        enough = among.bit_count() >= wish.need
        return _Way(seconds, broken, site, among, tuple(leaving)) if enough else None

    def _by_time(self, site: Site, wish: Wish) -> list[tuple[float, int, Tenant]]:
        """Who is at work here and not pledged, and in how many seconds their devices can be had."""
        return sorted(
            (min(tenant.left, tenant.yields_in(wish)), number, tenant)
            for number, tenant in enumerate(self._board.by_site[site])
            if tenant.wishes and not tenant.pledged
        )

    def _reserve(self, way: _Way, wish: Wish) -> None:
        block = way.site.block(way.among, wish.need)
        self.kept.append(Reservation(wish, way.site, way.site.free & block, way.seconds))
        self._board.shelves.take(way.site, block)
        for tenant in way.leaving:
            tenant.pledged = tenant.pledged or bool(tenant.mask & block)

    def backfill(self, wish: Wish) -> bool:
        """Start on reserved devices what will be done before they are needed."""
        for kept in self.kept:
            fit = kept.free & kept.site.fit(wish) if kept.free else 0
            block = kept.site.block(fit, wish.need) if fit else 0
            if block and self._ends_in(wish) <= kept.seconds:
                kept.free &= ~block
                self._board.begin(wish, kept.site, block)
                return True
        return False

    def _ends_in(self, wish: Wish) -> float:
        seconds = wish.seconds()
        return inf if seconds is None else seconds + wish.load(self._board.policy)
