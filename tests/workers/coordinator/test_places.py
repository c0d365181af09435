"""Places of a coordinator: one that a parked job gives up is free for the next, and others keep that job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain import parking
from app.domain.job import Phase
from app.domain.lease import Order
from app.settings import Settings
from tests.waiting import until
from tests.workers.coordinator.peers import PLAN, Child
from tests.workers.coordinator.test_worker import Case
from tests.world import World
from workers.coordinator import worker
from workers.coordinator.course import Course
from workers.protocol.harness import Found
from workers.supervision.heartbeat import Heartbeat


@pytest.fixture
def crowded(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """A coordinator with one place, whose job waits for engines while a more urgent one wants the place."""
    monkeypatch.setattr(parking, "PATIENCE_SECONDS", 0.0)
    over = threading.Event()

    def waits(child: Child) -> None:
        child.says(*PLAN)
        child.hears(Found)
        over.wait(20)

    yield Case(world, settings.model_copy(update={"coordinator_jobs": 1}), waits)
    over.set()


def parked(here: Case) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(here.run)
        until(lambda: here.job.phase == Phase.WAITING_FOR_GPU)
        here.world.submit(priority=99)
        running.result(20)


def test_the_heartbeat_of_its_place_is_over_before_others_keep_a_job(
    crowded: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Beats(Heartbeat[Order]):
        def stop(self) -> None:
            told.append("is over")
            super().stop()

    monkeypatch.setattr(worker, "Heartbeat", Beats)
    monkeypatch.setattr(crowded.coordinator.parked, "keep", lambda _: told.append("is kept"))
    parked(crowded)
    assert told == ["is over", "is kept"]


def test_a_coordinator_that_stops_leaves_to_others_what_it_parks(crowded: Case) -> None:
    keep = crowded.coordinator.parked.keep

    def stops(course: Course) -> None:
        crowded.stopping.set()
        keep(course)

    crowded.coordinator.parked.keep = stops  # type: ignore[method-assign]
    parked(crowded)
    (adopted,) = crowded.world.coordination.parking.adopt("another")
    assert adopted.id == crowded.job_id
