"""What placement is told and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from app.domain.engine_spec import EngineSpec
from app.domain.replica import Device, Replica


@dataclass(frozen=True)
class Group:
    """The devices of one host that one worker owns."""

    name: str
    devices: tuple[Device, ...]
    backends: frozenset[str]
    alive: bool = True
    draining: bool = False
    heard_at: datetime | None = None
    """When its worker was last heard of."""


@dataclass(frozen=True)
class Claim:
    """One job's part of a demand."""

    job: UUID
    team: str
    owner: str
    priority: int
    turn: int
    cost: float
    """Of its chunks that are still to be answered."""


@dataclass(frozen=True)
class Demand:
    """Work that waits for one engine spec."""

    engine: EngineSpec
    priority: int
    since: datetime
    waiting_chunks: int
    waiting_cost: float = 0.0
    replicas: int | None = None
    """How many replicas were asked for; None lets the work decide."""
    least: int = 1
    """Of those the work decides on, so many are wanted whatever it is."""
    group: str | None = None
    """The only group it may use; None means any."""
    shunned: frozenset[str] = frozenset()
    """Devices on which this engine failed lately: it waits for others, if there are any."""
    least_bytes: int | None = None
    """Memory that each of its devices must have; None where that is not known."""
    resting: bool = False
    """It failed just now: nothing is started until its jobs have had time to change it."""
    turn: int = 0
    """Its place among those of its priority."""
    claims: tuple[Claim, ...] = ()
    """The jobs that it was merged from."""
    load_seconds: float | None = None
    """What loading this engine took, the last times; None where nobody knows."""
    speed: float | None = None
    """Cost that one replica answers in a second; None where nobody knows."""

    def serves(self, replica: Replica) -> bool:
        """Whether a replica does this work: its engine, where it is wanted."""
        return replica.engine.key == self.engine.key and self.group in (None, replica.group)


@dataclass(frozen=True)
class EarlyWish:
    """A job whose requests are not there yet: its engine may load meanwhile, where that is in nobody's way."""

    job: UUID
    demand: Demand
    """What it will ask for; of chunks nothing is known."""
    may_start: bool = True
    """Whether an engine may be started for it; what is there is kept for it all the same."""


@dataclass(frozen=True)
class Policy:
    """The operator's knobs."""

    idle: timedelta = timedelta(minutes=10)
    hold: timedelta = timedelta(seconds=20)
    load: timedelta = timedelta(seconds=20)
    """What a start is assumed to cost: another replica must save more than this."""
    rest: timedelta = timedelta(seconds=5)
    """After a failed start, before the next one of the same engine."""
    shun: timedelta = timedelta(seconds=30)
    """How long an engine waits for others than the devices on which it failed, if there are any."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """Devices that are a team's before anybody else's; a team that is not named lives off what is idle."""


@dataclass(frozen=True)
class Start:
    """Load this engine on these devices."""

    group: str
    devices: tuple[str, ...]
    engine: EngineSpec
    early_for: UUID | None = None
    """The job whose requests are not there yet; None where some wait."""


@dataclass(frozen=True)
class Release:
    """Stop this replica at its next chunk boundary."""

    replica: UUID
    why: str


Decision: TypeAlias = Start | Release
