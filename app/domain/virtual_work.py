"""Jobs as a virtual cluster answers them: in seconds of one replica, a slice at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from app.domain.line import Account, InLine
from app.domain.placement import Claim, Demand


@dataclass(frozen=True)
class JobWork:
    """What one job still asks of engines."""

    line: InLine
    demand: Demand
    """Its own alone, as it is thought to be."""
    seconds: float
    """One replica takes so long for all of it."""
    load_seconds: float
    """Its engine takes so long to load."""
    spread: float = 1.0
    """By such a factor `seconds` and `load_seconds` may be wrong, either way."""

    def taking(self, power: float) -> JobWork:
        """The same where everything takes longer by the spread to this power."""
        factor = self.spread**power
        return replace(self, seconds=self.seconds * factor, load_seconds=self.load_seconds * factor)


class VirtualJob:
    """A job in virtual time, which counts in seconds."""

    def __init__(self, work: JobWork) -> None:
        self.work = work
        self.left = max(work.seconds, 1e-3)
        """Seconds of a replica that no replica has taken."""
        self.in_hand = 0.0
        self.holders = 0
        self.began: float | None = None
        self.devices: tuple[str, ...] = ()
        """Of the replicas that answer it, in the order in which they came to."""
        self.ended: float | None = None
        self.key = work.demand.engine.key
        self.chunk = max(work.seconds, 1e-3) / max(work.demand.waiting_chunks, 1)
        self._cost = work.demand.waiting_cost
        self._whole = self.left

    @property
    def open(self) -> float:
        """Seconds of a replica that are not answered."""
        return self.left + self.in_hand

    @property
    def account(self) -> Account:
        """Whose it is."""
        return (self.work.line.team, self.work.line.owner)

    @property
    def cost_per_second(self) -> float | None:
        """As a replica measures it that answers this job."""
        return self._cost / self._whole if self._cost else None

    def takes(self, group: str) -> bool:
        """Whether another replica of this group may answer some of it."""
        demand = self.work.demand
        few = demand.replicas is None or self.holders < demand.replicas
        return self.left > 0 and few and demand.group in (None, group)

    def take(self, seconds: float, now: float) -> float:
        """Give out so much of what is left, whole chunks of it; returns what it comes to."""
        chunks = max(round(seconds / self.chunk), 1)
        taken = min(chunks * self.chunk, self.left)
        taken = self.left if self.left - taken < self.chunk / 2 else taken
        self.left, self.in_hand, self.holders = self.left - taken, self.in_hand + taken, self.holders + 1
        self.began = now if self.began is None else self.began
        return taken

    def seat(self, devices: tuple[str, ...]) -> None:
        """A replica on these devices answers some of it."""
        self.devices = tuple(dict.fromkeys((*self.devices, *devices)))

    def answer(self, taken: float, done: float, now: float) -> None:
        """Of what was taken so much was answered; the rest waits again."""
        self.in_hand, self.holders = max(self.in_hand - taken, 0.0), self.holders - 1
        self.left += taken - done
        if self.left <= 0 and not self.holders:
            self.ended = now

    def standing(self, speed: float | None) -> InLine:
        """In line, with what it is thought to take still; `speed`: cost a second, as far as it is known."""
        if not speed or not self._cost:
            return self.work.line
        return replace(self.work.line, seconds=self._cost * self.open / self._whole / speed)

    def demand(self, turn: int, speed: float | None, load_seconds: float | None) -> Demand:
        """What it asks for now, with what is known of its engine."""
        whose, cost = self.work.line, self._cost * self.open / self._whole
        return replace(
            self.work.demand,
            turn=turn,
            waiting_chunks=ceil(self.open / self.chunk - 1e-6),
            waiting_cost=cost,
            claims=(Claim(whose.id, whose.team, whose.owner, whose.priority, turn, cost),),
            load_seconds=load_seconds,
            speed=speed,
        )
