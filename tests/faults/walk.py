"""The walk: every fail point once, each with the jobs that reach it, then rest, then the checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.db.session import make_sessions
from app.domain.keys import DEFAULT_TEAM, Role
from app.services.keys import KeyService
from app.settings import Settings
from tests.faults.campaign import Service, rest, running_service, undisturbed
from tests.faults.checker import Checker, Outcome
from tests.faults.clients import Engines, History
from tests.faults.failpoints import Point
from tests.faults.scenes import SCENES, ordinary
from tests.faults.stage import Kinds, Stage, kinds
from tests.faults.watch import watching

LEASE_SECONDS = 3.0
SETTINGS = {
    "EVALQ_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "EVALQ_HOLD_SECONDS": "1",
    "EVALQ_IDLE_SECONDS": "1",
    "EVALQ_SCHEDULE_SECONDS": "0.1",
    "EVALQ_COORDINATOR_JOBS": "2",
}


@dataclass
class Tally:
    """Which points were reached, and what did not hold."""

    reached: list[Point] = field(default_factory=list)
    missed: list[Point] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    looks: int = 0

    def lines(self) -> Iterator[str]:
        """For people."""
        total = len(self.reached) + len(self.missed)
        yield f"{len(self.reached)} of {total} fail points reached, {self.looks} looks at the tables"
        yield from (f"  not reached: {point}" for point in self.missed)
        yield from (f"  VIOLATION {words}" for words in self.violations)


def run(points: Sequence[Point], say: Callable[[str], None], folder: Path | None, engines: Engines) -> Tally:
    """Visit the points one after the other; logs stay in `folder` where one is given."""
    tally = Tally()
    with running_service(folder, SETTINGS) as service:
        known, history = kinds(str(service.model), engines), History()
        service.cluster.http.headers["Authorization"] = f"Bearer {_new_key(service)}"
        right = undisturbed(service, list(known.values()), history)
        for job in history.posted:
            service.cluster.http.delete(f"/jobs/{job.id}").raise_for_status()
        began_at = time.monotonic()
        with watching(service.database, LEASE_SECONDS) as watch:
            for point in points:
                found = _visit(service, known, point, right, tally)
                say(f"{time.monotonic() - began_at:7.1f} s  {point}: {', '.join(found) or 'nothing lost'}")
        tally.looks = watch.looks
        tally.violations += watch.violations
    return tally


def _visit(
    service: Service, known: Kinds, point: Point, right: Mapping[str, Outcome], tally: Tally
) -> list[str]:
    stage = Stage(service, known, point)
    scene = SCENES.get(point.method, ordinary)
    broken = []
    try:
        scene(stage)
    except AssertionError as error:
        broken = [f"the scene could not be played: {error}"]
    stage.leave()
    left = [f"never came to rest: {what}" for what in rest(service.database)]
    broken += left + Checker(service.cluster, service.database, stage.history, right).violations()
    for job in list(stage.history.posted):
        stage.forget(job)
    (tally.reached if stage.reached else tally.missed).append(point)
    tally.violations += [f"{point}: {words}" for words in broken]
    return broken + ([] if stage.reached else ["not reached"])


def _new_key(service: Service) -> str:
    """An operator's key, so that the calls are those of a service with keys."""
    sessions = make_sessions(Settings(database_url=service.database.url))
    try:
        _, token = KeyService(sessions=sessions).create(name="walk", role=Role.OPERATOR, team=DEFAULT_TEAM)
    finally:
        sessions.close()
    return token
