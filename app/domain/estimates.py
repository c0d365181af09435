"""What is known of how long things take, and what jobs are told of when they begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.domain.demands import NOTHING_LEARNT, Learnt
from app.domain.engine_spec import EngineSpec
from app.domain.forecast import TIMES, Forecast
from app.domain.line import TYPICAL_SECONDS, InLine
from app.domain.placement import NOTHING_HELD_UP, Claim, Demand, Holdups
from app.domain.plan import Plan, least_bytes
from app.domain.virtual_work import JobWork

KNOWN, LIKE, GUESSED = 1.3, 2.0, 4.0
"""By such a factor a time may be wrong that the same engine took, that others took, and that nobody knows."""

CHUNKS = 10
"""Of a job whose prompts are not built."""

BELIEVED = timedelta(minutes=1)
"""After so long a forecast is none any more: the scheduler has done much since."""


@dataclass(frozen=True)
class Habits:
    """What the latest engines and jobs of any kind took: for those of which nothing else is known."""

    pace: Learnt = NOTHING_LEARNT
    job_seconds: float | None = None
    """Of engines, for one job."""
    prepare_seconds: float | None = None


@dataclass(frozen=True)
class Outstanding:
    """What a job in line still asks of engines."""

    line: InLine
    engine: EngineSpec
    plan: Plan
    prepared: bool
    """Its prompts are built: what it asks is known."""
    chunks: int = 0
    cost: float = 0.0

    def work(self, own: Learnt, habits: Habits, load: timedelta, usual: float | None = None) -> JobWork:
        """As the rules are run forward with it; `load`: what a start is assumed to take where nobody knows.

        It takes as long as it is thought to, but the rules know no more of its engine than the scheduler, which would
        decide otherwise if it did; `usual` is the speed that the scheduler assumes.
        """
        speed, load_seconds = own.speed or habits.pace.speed, own.load_seconds or habits.pace.load_seconds
        known = bool(self.prepared and speed)
        seconds = self.cost / speed if known and speed else habits.job_seconds or TYPICAL_SECONDS
        spread = KNOWN if known and own.speed else LIKE if known else GUESSED
        cost = self.cost if known else seconds * (speed or 1.0)
        told = load_seconds or load.total_seconds()
        return JobWork(self._standing(usual), self._demand(cost, own), seconds, told, spread)

    def _standing(self, usual: float | None) -> InLine:
        """In line before its engine's speed is known."""
        if not usual or not self.prepared or self.line.seconds is not None:
            return self.line
        return replace(self.line, seconds=self.cost / usual)

    def _demand(self, cost: float, own: Learnt) -> Demand:
        job, width = self.line, self.plan.gpus_per_replica
        return Demand(
            engine=self.engine,
            priority=job.priority,
            since=job.since,
            waiting_chunks=max(self.chunks, 1) if self.prepared else CHUNKS,
            waiting_cost=cost,
            replicas=self.plan.replicas,
            group=self.plan.group,
            least_bytes=least_bytes(self.plan) if self.engine.gpus == width else None,
            claims=(Claim(job.id, job.team, job.owner, job.priority, 0, cost),),
            load_seconds=own.load_seconds,
            speed=own.speed,
        )

    def told(self, found: Forecast, habits: Habits) -> Forecast:
        """What is said of the job: it begins no sooner than its prompts are built."""
        if self.prepared or habits.prepare_seconds is None or found.start is None:
            return found
        late = max(habits.prepare_seconds - found.start, 0.0)
        return later(found, late)


def later(found: Forecast, seconds: float) -> Forecast:
    """The same so many seconds later, or sooner where they are negative; nothing lies in the past."""
    times = {name: getattr(found, name) for name in TIMES}
    moved = {name: None if at is None else max(at + seconds, 0.0) for name, at in times.items()}
    return Forecast(**moved, devices=found.devices)


@dataclass(frozen=True)
class Estimates:
    """What was told at one moment of the jobs in line; those too far behind are left out."""

    made_at: datetime
    jobs: Mapping[UUID, Forecast] = field(default_factory=dict)
    holdups: Holdups = NOTHING_HELD_UP

    def held_up(self, now: datetime) -> Holdups:
        """What kept devices from jobs; nothing where that is too old."""
        return self.holdups if now - self.made_at <= BELIEVED else NOTHING_HELD_UP

    def of(self, job_id: UUID, now: datetime) -> Forecast | None:
        """Seconds from now; None where nothing is known, or what was known is too old."""
        found, age = self.jobs.get(job_id), now - self.made_at
        if found is None or found.start is None or age > BELIEVED:
            return None
        return later(found, -age.total_seconds())


def unknown() -> Estimates:
    """Where nobody looks ahead."""
    return Estimates(datetime.max.replace(tzinfo=UTC))
