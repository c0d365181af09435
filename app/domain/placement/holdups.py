"""Why demands get no devices though the cluster has some, as the rules of placement themselves decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.domain.placement.reservations import Reservation
from app.domain.placement.rules import Turn, turned
from app.domain.placement.values import Demand, Group, Policy
from app.domain.placement.wishes import Wish
from app.domain.replica import Replica

FAR_SECONDS = 86400.0
"""What is farther away is not told."""

SHORT = 13
"""Of an id: the time in it, to the millisecond."""


@dataclass(frozen=True)
class KeptDevices:
    """Free devices that are kept for the job of somebody ahead, who needs more of them at once."""

    job: UUID
    team: str
    need: int
    devices: int
    until: datetime | None
    """The last of them comes free then; None where nobody knows."""

    def told(self, team: str) -> str:
        """For those of a team: of a job of another one they learn the size."""
        whose = f"job {str(self.job)[:SHORT]}" if self.team == team else "another team's job"
        free = "1 device is" if self.devices == 1 else f"{self.devices} devices are"
        until = f", which begins at about {self.until.astimezone(UTC):%H:%M} UTC" if self.until else ""
        return f"{free} free and kept for {whose} on {self.need}{until}"


@dataclass(frozen=True)
class Holdups:
    """By job; those that get devices, or find none whoever had a quota, are left out."""

    kept: Mapping[UUID, KeptDevices] = field(default_factory=dict)
    """Free devices that would do for the job."""
    quota: frozenset[UUID] = frozenset()
    """It would get devices now if nobody had a quota."""


NOTHING_HELD_UP = Holdups()


def holdups(
    now: datetime,
    groups: Sequence[Group],
    replicas: Sequence[Replica],
    demand: Sequence[Demand],
    policy: Policy,
) -> Holdups:
    """What keeps devices from demands in the next turn."""
    turn = turned(now, groups, replicas, demand, policy)
    kept = {job: held for wish in turn.left for job in _jobs(wish) if (held := _kept(wish, turn, now))}
    if not policy.quotas:
        return Holdups(kept)
    free = turned(now, groups, replicas, demand, replace(policy, quotas={}))
    left = {job for wish in turn.left for job in _jobs(wish)}
    return Holdups(kept, frozenset(left - {job for wish in free.left for job in _jobs(wish)}))


def _jobs(wish: Wish) -> list[UUID]:
    return [claim.job for claim in wish.demand.claims]


def _kept(wish: Wish, turn: Turn, now: datetime) -> KeptDevices | None:
    """By the first reservation without which it could start."""
    found = (each for each in turn.reserved if each.wish is not wish and _would_do(each, wish))
    reserved = next(found, None)
    if reserved is None or not reserved.wish.demand.claims:
        return None
    first, known = reserved.wish.demand.claims[0], reserved.seconds <= FAR_SECONDS
    until = now + timedelta(seconds=reserved.seconds) if known else None
    return KeptDevices(first.job, first.team, reserved.wish.need, reserved.free.bit_count(), until)


def _would_do(reserved: Reservation, wish: Wish) -> bool:
    return (reserved.free & reserved.site.fit(wish)).bit_count() >= wish.need
