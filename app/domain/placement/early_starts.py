"""Engines that load before their jobs have requests: behind everybody else, and only where that is in nobody's way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from app.domain.placement.board import Board
from app.domain.placement.sites import Site
from app.domain.placement.values import EarlyWish, Group, Start
from app.domain.placement.wishes import Wish, device_sizes, wish_of
from app.domain.replica import Replica, ReplicaStatus

PATIENCE = timedelta(minutes=10)
"""So long a loaded engine waits at least for a job that is still being prepared, if nobody needs its devices."""

NOT_NEEDED = "the job that it was loaded early for does not need it"


class EarlyStarts:
    """The last to be asked in a turn: what is decided by now stands."""

    def __init__(self, board: Board, early: Sequence[EarlyWish], staying: Sequence[Replica]) -> None:
        self._board = board
        self._early = early
        self._staying = staying

    def begin(self, left: Sequence[Wish], groups: Sequence[Group]) -> None:
        """Load one replica for each that has none, on free devices that none of those `left` waiting could use."""
        asking = [each for each in self._early if each.may_start and not self._has_engine(each)]
        if not asking:
            return
        barred, sizes = self._barred(left), device_sizes(groups)
        for each in asking:
            if not self._has_engine(each):  # nor was given one just now
                self._start(each, wish_of(each.demand, sizes), barred)

    def _barred(self, left: Sequence[Wish]) -> dict[Site, int]:
        """What somebody waits for, be it shunned for now."""
        waiting = {wish.on: replace(wish, demand=replace(wish.demand, shunned=frozenset())) for wish in left}
        barred = dict.fromkeys(self._board.sites, 0)
        for wish in waiting.values():
            for site in barred:
                barred[site] |= site.fit(wish)
        return barred

    def _has_engine(self, early: EarlyWish) -> bool:
        asked, started = early.demand, (each for each in self._board.decisions if isinstance(each, Start))
        return any(asked.serves(replica) for replica in self._staying) or any(
            each.engine.key == asked.engine.key and asked.group in (None, each.group) for each in started
        )

    def _start(self, early: EarlyWish, wish: Wish, barred: dict[Site, int]) -> None:
        for site in self._board.shelves.least(wish.need):
            if found := site.block(site.free & site.fit(wish) & ~barred[site], wish.need):
                self._board.shelves.take(site, found)
                self._board.decisions.append(
                    Start(site.name, site.names(found), early.demand.engine, early.job)
                )
                return

    def give_back(self) -> None:
        """Let go of what was loaded early and nobody wants any more, and of what has idled for too long."""
        for replica in self._staying:
            if self._board.wishes_of(replica):
                continue
            expected = any(each.demand.serves(replica) for each in self._early)
            if replica.early and not expected:
                self._board.let_go(replica, NOT_NEEDED)
            elif self._idled_too_long(replica, expected=expected):
                self._board.let_go(replica, "idle")

    def _idled_too_long(self, replica: Replica, *, expected: bool) -> bool:
        idle = replica.idle_since if replica.status is ReplicaStatus.SERVING else None
        patience = max(self._board.policy.idle, PATIENCE) if expected else self._board.policy.idle
        return bool(idle and self._board.now - idle >= patience)
