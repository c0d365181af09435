"""Invented jobs: as many GPUs, owners and bursts as are wanted, the same again for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from app.domain.engine_spec import EngineSpec
from app.domain.line import InLine
from app.domain.placement import Demand, Group
from app.domain.replica import Device
from app.domain.virtual_work import JobWork

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)
HOST = 8
"""GPUs of one host."""
CHUNK_SECONDS = 5.0
COST_PER_SECOND = 100.0


@dataclass(frozen=True)
class Arrival:
    """A job, and when it is posted: seconds from the beginning."""

    after: float
    work: JobWork

    @property
    def gpus(self) -> int:
        """Of one replica."""
        return self.work.demand.engine.gpus

    @property
    def thought(self) -> float:
        """Seconds that it is thought to take on one replica."""
        return self.work.demand.waiting_cost / COST_PER_SECOND


@dataclass(frozen=True)
class Trace:
    """Jobs in the order in which they come, and the GPUs that they share."""

    name: str
    gpus: int
    arrivals: Sequence[Arrival]

    @property
    def groups(self) -> list[Group]:
        """Hosts of eight."""
        sizes = [min(HOST, self.gpus - first) for first in range(0, self.gpus, HOST)]
        return [
            Group(
                f"h{host:04}",
                tuple(Device(f"h{host:04}-{index}", index, "GPU") for index in range(size)),
                frozenset({"hf"}),
            )
            for host, size in enumerate(sizes)
        ]

    @property
    def area(self) -> float:
        """Device seconds of work, loads not counted."""
        return sum(each.work.seconds * each.gpus for each in self.arrivals)


@dataclass(frozen=True)
class Mix:
    """What is drawn."""

    gpus: int
    jobs: int
    owners: int = 5
    widths: Sequence[int] = (1, 1, 1, 1, 2, 2, 4, 8)
    """Of models; each is as likely."""
    jobs_per_model: float = 5.0
    seconds: float = 300.0
    """The median, of one replica; a tenth take four times as long, a tenth a quarter."""
    wrong: float = 0.4
    """Sigma of the logarithm of what jobs are thought to take."""
    load: float | None = None
    """Of the cluster, by jobs that come all day; None: all come at once."""
    flood: float = 0.0
    """Part of the jobs that are one owner's; the others' are as many as each other's, in the mean."""
    bursts: float = 0.3
    """Part of the jobs that come ten at a time, of one owner and model."""


def drawn(name: str, mix: Mix, seed: int) -> Trace:
    """Jobs of this mix."""
    random = Random(f"{name} {seed}")  # noqa: S311
    models = [_model(number, random, mix) for number in range(max(int(mix.jobs / mix.jobs_per_model), 1))]
    works: list[list[JobWork]] = []
    while sum(map(len, works)) < mix.jobs:
        size = 10 if random.random() < mix.bursts / 10 / (1 - mix.bursts * 0.9) else 1
        owner = 0 if random.random() < mix.flood else random.randrange(mix.owners)
        model = random.choice(models)
        works.append([_work(random, mix, model, f"o{owner}") for _ in range(size)])
    times = _times([sum(w.seconds * w.demand.engine.gpus for w in some) for some in works], mix, random)
    arrivals = [(after, work) for after, some in zip(times, works, strict=True) for work in some][: mix.jobs]
    return Trace(name, mix.gpus, [_numbered(*each, number) for number, each in enumerate(arrivals, 1)])


def _times(areas: Sequence[float], mix: Mix, random: Random) -> Iterator[float]:
    if mix.load is None:
        yield from (0.0 for _ in areas)
        return
    mean = sum(areas) / len(areas) / mix.gpus / mix.load
    after = 0.0
    for _ in areas:
        yield after
        after += random.expovariate(1 / mean)


def _model(number: int, random: Random, mix: Mix) -> tuple[EngineSpec, float]:
    gpus = random.choice([width for width in mix.widths if width <= mix.gpus])
    return EngineSpec("hf", f"m{number}", gpus=gpus), (15 + 10 * gpus) * random.lognormvariate(0, 0.3)


def _work(random: Random, mix: Mix, model: tuple[EngineSpec, float], owner: str) -> JobWork:
    engine, load = model
    seconds = min(max(mix.seconds * random.lognormvariate(0, 1.1), 5.0), 6 * 3600.0)
    cost = seconds * COST_PER_SECOND * random.lognormvariate(0, mix.wrong)
    demand = Demand(engine, 50, NOW, max(round(seconds / CHUNK_SECONDS), 1), cost)
    return JobWork(InLine(UUID(int=0), owner, owner, 50, NOW), demand, seconds, load)


def _numbered(after: float, work: JobWork, number: int) -> Arrival:
    came = NOW + timedelta(seconds=after)
    whose, gpus = work.line, work.demand.engine.gpus
    line = InLine(UUID(int=number), whose.team, whose.owner, whose.priority, came, devices=gpus)
    demand = Demand(
        work.demand.engine, work.demand.priority, came, work.demand.waiting_chunks, work.demand.waiting_cost
    )
    return Arrival(after, JobWork(line, demand, work.seconds, work.load_seconds))
