"""A campaign: an undisturbed run of every kind of job, then faults under load, then rest, then the checks."""

from __future__ import annotations

import heapq
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.faults.checker import Checker, Outcome, outcome, unfinished
from tests.faults.clients import (
    Client,
    Engines,
    History,
    Variant,
    deadly,
    one_chunk,
    running_clients,
    variants,
)
from tests.faults.cluster import Cluster
from tests.faults.disk import small_disk
from tests.faults.faults import Fault, Saboteur
from tests.faults.model import make_model
from tests.faults.servers import Broker, Database, running_servers
from tests.faults.watch import watching

REST_SECONDS = 150.0
DISK_BYTES = 16 << 20


@dataclass(frozen=True)
class Plan:
    """What to do; the same seed draws the same faults, though not at the same instants of the service."""

    seed: int
    faults: int
    lease_seconds: float = 4.0
    pause_seconds: float = 2.0
    """Mean time from one fault to the next."""
    clients: int = 5
    places: int = 3
    """Jobs that the coordinator runs at once: others wait, and those that wait for engines are parked."""
    kinds: tuple[str, ...] = ()
    """Faults that are done first, by name, before others are drawn."""
    engines: Engines = Engines.MIXED
    deadly: bool = True
    """Whether some jobs have a request that kills engines: they take their time."""


@dataclass
class Report:
    """What was done and what did not hold."""

    plan: Plan
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    fallen: list[str] = field(default_factory=list)
    """Parts that ended by themselves and were started again, as systemd or Compose would."""
    looks: int = 0
    rest_seconds: float = 0.0
    folder: Path = Path()

    def lines(self) -> Iterator[str]:
        """For people."""
        plan, jobs = self.plan, self.statuses.total()
        yield f"seed {plan.seed}, engines {plan.engines}: {self.faults.total()} faults, {jobs} jobs"
        yield "  faults: " + ", ".join(f"{n} {what}" for what, n in sorted(self.faults.items()))
        yield f"  fail points reached: {len(self.reached)}: {', '.join(self.reached)}"
        yield f"  ended by themselves, started again: {', '.join(self.fallen) or 'none'}"
        yield f"  looks at the tables: {self.looks}"
        yield "  jobs: " + ", ".join(f"{n} {status}" for status, n in sorted(self.statuses.items()))
        yield f"  at rest {self.rest_seconds:.1f} s after the last fault was undone"
        yield from (f"  VIOLATION {words}" for words in self.violations)


def run(plan: Plan, say: Callable[[str], None] = print, folder: Path | None = None) -> Report:
    """Run a campaign; logs stay in `folder` where one is given."""
    settings = {
        "EVALQ_LEASE_SECONDS": f"{plan.lease_seconds:g}",
        "EVALQ_HOLD_SECONDS": "1",
        "EVALQ_IDLE_SECONDS": "20",
        "EVALQ_SPARE_ENGINES": "1",
        "EVALQ_COORDINATOR_JOBS": f"{plan.places}",
    }
    with running_service(folder, settings) as service:
        return _Campaign(plan, service, say).run()


@dataclass(frozen=True)
class Service:
    """The whole service and what it stands on, at work."""

    cluster: Cluster
    database: Database
    broker: Broker
    folder: Path
    model: Path
    small_disk: bool
    """Whether the workers' data folder can be filled."""


@contextmanager
def running_service(
    folder: Path | None, settings: Mapping[str, str], *, database_bytes: int = 0
) -> Iterator[Service]:
    """All parts, ready; logs stay in `folder` where one is given. The database may have a small disk of its own."""
    with (
        campaign_folder(folder) as place,
        small_disk(place / "pg", database_bytes),
        running_servers(place) as servers,
        small_disk(place / "data", DISK_BYTES) as small,
    ):
        model = make_model(place / "models" / "bytes")
        quiet = {
            "EVALQ_SPARE_ENGINES": "0",
            "EVALQ_CACHE": str(place / "cache"),  # a host without backends: no spare imports them
        }
        cluster = Cluster(*servers, place, model=model, settings=quiet | dict(settings))
        try:
            cluster.start_all()
            cluster.await_ready()
            yield Service(cluster, *servers, place, model, small)
        finally:
            cluster.stop()


def undisturbed(service: Service, kinds: list[Variant], history: History) -> dict[str, Outcome]:
    """What every kind of job ends as before anything happens."""
    client = Client(service.cluster, kinds, history, 0, threading.Event())
    posted = [client.post(kind) for kind in kinds]
    if left := rest(service.database):
        raise AssertionError(f"an undisturbed job does not end: {left}")
    return {job.variant: outcome(service.database, job.id) for job in posted if job}


def rest(database: Database, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
    """Wait until every job has ended and no device is on its way; what is left after a bound."""
    deadline = time.monotonic() + REST_SECONDS
    quiet = threading.Event()
    while (left := unfinished(database)) and time.monotonic() < deadline:
        meanwhile()
        quiet.wait(0.2)
    return left


class _Campaign:
    def __init__(self, plan: Plan, service: Service, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._service = service
        self._cluster, self._database = service.cluster, service.database
        model = str(service.model)
        self._kinds = [one_chunk(model, plan.engines), *variants(model, plan.engines)]
        if plan.deadly:
            self._kinds.append(deadly(model, plan.engines))
        self._say = say
        self._rng = random.Random(plan.seed)
        self._saboteur = Saboteur(
            service.cluster, service.database, service.broker, self._rng, plan.lease_seconds
        )
        if not service.small_disk:
            self._saboteur.forgo("full disk")
        self._history = History()
        self._report = Report(plan)
        self._began = time.monotonic()

    def run(self) -> Report:
        """Learn what is right, do the faults, wait for rest, check."""
        plan, report = self._plan, self._report
        right = undisturbed(self._service, self._kinds, self._history)
        with watching(self._database, plan.lease_seconds) as watch:
            with running_clients(self._cluster, self._kinds, self._history, plan.seed, plan.clients):
                self._strike()
            healed_at = time.monotonic()
            self._cluster.start_all()
            left = rest(
                self._database, self._start_fallen
            )  # one that was refused by the broker ends only now
            report.rest_seconds = time.monotonic() - healed_at
        report.looks = watch.looks
        report.reached = self._saboteur.reached
        report.violations += [f"never came to rest: {what}" for what in left] + watch.violations
        checker = Checker(self._cluster, self._database, self._history, right)
        report.violations += checker.violations()
        with self._database.connect() as connection:
            found = connection.execute("SELECT status, count(*) FROM jobs GROUP BY status").fetchall()
        report.statuses = Counter({str(status): int(str(number)) for status, number in found})
        return report

    def _strike(self) -> None:
        """Do the faults at drawn times, and undo each after its time; the last undone, return."""
        undoing: list[tuple[float, int, Fault]] = []
        order, kinds, left = count(), list(self._plan.kinds), self._plan.faults
        strike_at = time.monotonic() + 1.0
        never = threading.Event()
        while left or undoing:
            if undoing and (not left or undoing[0][0] <= strike_at):
                at, _, fault = heapq.heappop(undoing)
                never.wait(max(0.0, at - time.monotonic()))
                fault.undo()
                continue
            never.wait(max(0.0, strike_at - time.monotonic()))
            self._start_fallen()
            kind = kinds.pop(0) if kinds else None
            fault = self._saboteur.strike(kind)
            left -= 1
            self._tell(fault)
            now = time.monotonic()
            heapq.heappush(undoing, (now + fault.seconds, next(order), fault))
            strike_at = now + self._rng.expovariate(1 / self._plan.pause_seconds)

    def _start_fallen(self) -> None:
        for part in self._saboteur.fallen():
            self._report.fallen.append(part)
            self._cluster.start(part)

    def _tell(self, fault: Fault) -> None:
        self._report.faults[fault.name] += 1
        self._say(f"{time.monotonic() - self._began:7.1f} s  {fault.what}")


@contextmanager
def campaign_folder(given: Path | None) -> Iterator[Path]:
    """The given folder, or one that is gone afterwards; its name is short because sockets' must be."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="evalq-f-", ignore_cleanup_errors=True) as name:
        yield Path(name)
