"""What jobs ask of engines, with what is known of these: read each turn, as much of it as has changed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from app.backends import BACKENDS
from app.db.capacity import CapacityRepository, WaitingWork
from app.db.histories import HistoryRepository
from app.db.paces import PaceRepository
from app.domain.demands import NOTHING_LEARNT, Learnt, merged, usual_speed
from app.domain.placement import Claim, Demand, EarlyWish, Policy
from app.domain.plan import least_bytes
from app.domain.remedy import may_change, may_fail_again
from app.domain.replica import Replica

LEARNT_SECONDS = 10.0
"""After so long it is asked again how fast engines load and answer."""


def demand_of(item: WaitingWork, turn: int = 0, learnt: Learnt = NOTHING_LEARNT) -> Demand:
    """What one job asks for, at its place in line."""
    return Demand(
        engine=item.engine,
        priority=item.priority,
        since=item.created_at,
        turn=turn,
        waiting_chunks=item.chunks,
        waiting_cost=item.cost,
        replicas=item.plan.replicas,
        group=item.plan.group,
        least_bytes=least_bytes(item.plan) if item.engine.gpus == item.plan.gpus_per_replica else None,
        claims=(Claim(item.job_id, item.team, item.owner, item.priority, turn, item.cost),),
        load_seconds=learnt.load_seconds,
        speed=learnt.speed,
    )


def held_off(demand: Demand, failed: Sequence[tuple[Replica, float]], policy: Policy) -> Demand:
    """The demand with what its engine's latest failures forbid; each comes with the seconds since it."""
    own = [(replica, seconds) for replica, seconds in failed if demand.serves(replica)]
    if not own:
        return demand
    return replace(
        demand,
        shunned=frozenset(device for replica, _ in own for device in replica.devices),
        resting=any(
            seconds < policy.rest.total_seconds() and may_change(replica) for replica, seconds in own
        ),
    )


class DemandReader:
    """Remembers from turn to turn what the jobs asked for and what their engines took."""

    def __init__(self) -> None:
        self._work: dict[UUID, WaitingWork] = {}
        self._unread: set[tuple[UUID, int]] = set()
        self._asked: dict[UUID, tuple[WaitingWork, int, Learnt, Demand]] = {}
        self._learnt: dict[str, Learnt] = {}
        self._typical: float | None = None
        """The speed of an engine of which nothing else is known."""
        self._due_at = 0.0

    def read(self, session: Session, policy: Policy) -> list[Demand]:
        """What is asked for now."""
        work = CapacityRepository(session, self._unread).work(self._work)
        self._work = {item.job_id: item for item in work}
        keys = {item.engine.key for item in work}
        if not keys:
            return []
        self._learn(session, keys)
        lately = HistoryRepository(session).failed_lately(list(keys), policy.shun.total_seconds())
        failed = [(replica, seconds) for replica, seconds in lately if may_fail_again(replica)]
        return [held_off(demand, failed, policy) for demand in merged(self._demands(work))]

    def expect(self, session: Session) -> list[EarlyWish]:
        """What will be asked for, as far as it is known by now which engine that is."""
        found = CapacityRepository(session, self._unread).expected()
        return [
            EarlyWish(item.job_id, demand_of(item), may_start)
            for item, may_start in found
            if (backend := BACKENDS.get(item.engine.backend)) and backend.is_settled(item.engine.args)
        ]

    def _demands(self, work: Sequence[WaitingWork]) -> Iterator[Demand]:
        """One for each job; what a job asks for is the same object until something of it changes."""
        before, self._asked = self._asked, {}
        for turn, item in enumerate(work):
            learnt = self._learnt.get(item.engine.key, NOTHING_LEARNT)
            known = before.get(item.job_id)
            if known is None or known[0] is not item or known[1:3] != (turn, learnt):
                known = (item, turn, learnt, demand_of(item, turn, learnt))
            self._asked[item.job_id] = known
            yield known[3]

    def _learn(self, session: Session, keys: Collection[str]) -> None:
        """Of engines that nobody asked about before at once, of all again after a while."""
        now = time.monotonic()
        if now >= self._due_at:
            self._learnt, self._due_at = {}, now + LEARNT_SECONDS
        if new := [key for key in keys if key not in self._learnt]:
            self._learnt |= dict.fromkeys(new, NOTHING_LEARNT) | PaceRepository(session).learnt(new)
            self._typical = usual_speed(self._learnt.values())

    def expected(self, job_id: UUID, told: float | None) -> float | None:
        """Seconds of one replica that a job still takes: by its engine's speed, else as it is told, else by any's.

        What it tells itself counts the time in which others had its engine.
        """
        item = self._work.get(job_id)
        own = item and self._learnt.get(item.engine.key, NOTHING_LEARNT).speed
        speed = own or (self._typical if told is None else None)
        return item.cost / speed if item and speed else told
