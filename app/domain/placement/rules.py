"""Which replicas to start and which to release: a pure function, driven by the scheduler and by tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.placement.board import Board
from app.domain.placement.early_starts import EarlyStarts
from app.domain.placement.quotas import entitle
from app.domain.placement.reservations import Reservation, Reservations
from app.domain.placement.sites import Site, opened
from app.domain.placement.tenants import Tenant
from app.domain.placement.values import Decision, Demand, EarlyWish, Group, Policy
from app.domain.placement.widening import narrow, widen
from app.domain.placement.wishes import Wish, wishes, wishes_of
from app.domain.replica import DeviceState, Replica


def place(
    now: datetime,
    groups: Sequence[Group],
    replicas: Sequence[Replica],
    demand: Sequence[Demand],
    policy: Policy,
    *,
    early: Sequence[EarlyWish] = (),
) -> list[Decision]:
    """Serve demands in line, those first that a quota guarantees, in whatever order it is told of them.

    Behind all of them those are served who will ask later, in the order in which they are told.
    """
    return turned(now, groups, replicas, demand, policy, early=early).decisions


@dataclass(frozen=True)
class Turn:
    """What was decided, and of whom nothing was."""

    decisions: list[Decision]
    left: Sequence[Wish]
    """They have no replica, and get none by these decisions."""
    reserved: Sequence[Reservation]


def turned(
    now: datetime,
    groups: Sequence[Group],
    replicas: Sequence[Replica],
    demand: Sequence[Demand],
    policy: Policy,
    *,
    early: Sequence[EarlyWish] = (),
) -> Turn:
    """What `place` decides, with what it left undone."""
    live = sorted((r for r in replicas if r.status.live), key=lambda r: (r.placed_at, r.id.int))
    draining = {group.name for group in groups if group.draining}
    staying = [r for r in live if not r.release_requested_at and r.group not in draining]
    sites = opened(groups)
    line = wishes(demand, groups)
    by_engine = _served(line, staying)
    line = entitle(line, policy, sites)
    by_name = {site.name: site for site in sites}
    _leave(by_name, live)
    tenants = [
        Tenant.of(r, by_name[r.group], wishes_of(r, by_engine), policy, now)
        for r in staying
        if r.group in by_name
    ]
    board = Board(now, policy, sites, tenants, by_engine)
    for replica in live:
        if replica.group in draining and not replica.release_requested_at:
            board.let_go(replica, "its group is draining")
    left, reserved = _serve(board, line)
    served = [wish for wish in line if wish.served]
    narrow(board, served)
    widen(board, served)
    later = EarlyStarts(board, early, staying)
    later.give_back()
    later.begin(left, groups)
    return Turn(board.decisions, left, reserved)


def widest(groups: Sequence[Group], backend: str, name: str | None = None) -> int:
    """Devices of the largest group that takes work for a backend; drained ones may never come back."""
    usable = (
        g for g in groups if g.alive and not g.draining and backend in g.backends and name in (None, g.name)
    )
    return max((sum(d.state is not DeviceState.DRAINED for d in g.devices) for g in usable), default=0)


def _served(line: Sequence[Wish], staying: Sequence[Replica]) -> Mapping[str, tuple[Wish, ...]]:
    """The wishes for each engine, told which replicas serve them."""
    by_engine: dict[str, tuple[Wish, ...]] = {}
    for wish in line:
        key = wish.demand.engine.key
        by_engine[key] = (*by_engine.get(key, ()), wish)
    for replica in staying:
        for wish in by_engine.get(replica.engine.key, ()):
            if wish.demand.group in (None, replica.group):
                wish.replicas = [*wish.replicas, replica]
    return by_engine


def _leave(sites: Mapping[str, Site], live: Sequence[Replica]) -> None:
    """Devices of replicas that were asked to go come free soon."""
    for replica in live:
        if replica.release_requested_at and (site := sites.get(replica.group)):
            site.soon |= site.mask(replica.devices)


def _serve(board: Board, line: Sequence[Wish]) -> tuple[list[Wish], list[Reservation]]:
    """A first replica for each, and as many as its quota gives it; who must wait keeps its block from later ones.

    Returns those that get none, and what is kept.
    """
    reservations, left = Reservations(board), list[Wish]()
    for wish in line:
        if not wish.served and not _serve_one(board, reservations, wish):
            left.append(wish)
        if wish.entitled:
            for _ in range(wish.entitled - max(wish.served, 1)):
                _serve_one(board, reservations, wish)
    return left + [kept.wish for kept in reservations.kept if not kept.wish.served], reservations.kept


def _serve_one(board: Board, reservations: Reservations, wish: Wish) -> bool:
    if wish.kind in board.hopeless:
        return reservations.backfill(wish)
    if wish.demand.shunned and not any(site.fit(wish) for site in board.sites):
        wish.demand, wish.outcast = replace(wish.demand, shunned=frozenset()), True
    if board.start(wish) or reservations.backfill(wish) or board.wait(wish):
        return True
    if wish.demand.resting:
        return False
    why = f"{wish.demand.engine.model} waits for its devices"
    if board.dislodge(wish, why) or board.oust(wish, why) or reservations.gather(wish, why):
        return True
    board.despair(wish)
    return False
