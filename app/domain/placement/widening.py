"""More replicas for what is served already: while the work pays for them, one each in turn."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from app.domain.placement.board import Board
from app.domain.placement.wishes import Wish, wanted
from app.domain.replica import Replica


def widen(board: Board, line: Sequence[Wish]) -> None:
    """Higher priorities first; between equals who has fewest devices. Then replicas that nobody wants make room."""
    if board.is_exhausted():
        return
    wider = [
        (-wish.demand.priority, wish.served * wish.need, number, wish)
        for number, wish in enumerate(line)
        if wish.served and not (wish.outcast or wish.demand.resting) and _target(board, wish) > wish.served
    ]
    heapq.heapify(wider)
    short: list[Wish] = []
    while wider:
        priority, _, number, wish = heapq.heappop(wider)
        if not board.start(wish):
            short.append(wish)
        elif _target(board, wish) > wish.served:
            heapq.heappush(wider, (priority, wish.served * wish.need, number, wish))
    for wish in short:
        _make_room(board, wish)


def _target(board: Board, wish: Wish) -> int:
    return wanted(wish.demand, wish.replicas, board.policy)


def _make_room(board: Board, wish: Wish) -> None:
    why = f"{wish.demand.engine.model} has work for more replicas"
    for _ in range(_target(board, wish) - wish.served):
        if not (board.wait(wish) or board.dislodge(wish, why)):
            return


def narrow(board: Board, line: Sequence[Wish]) -> None:
    """Let go of replicas above the number that was asked for, the last ones first."""
    for wish in line:
        asked = wish.demand.replicas
        if asked is None or len(wish.replicas) <= asked:
            continue
        spare = [replica for replica in wish.replicas if _serves_only(board, replica, wish)]
        for replica in spare[asked - len(wish.replicas) :]:
            board.let_go(replica, f"{asked} replicas were asked for")


def _serves_only(board: Board, replica: Replica, wish: Wish) -> bool:
    return board.wishes_of(replica) == [wish]
