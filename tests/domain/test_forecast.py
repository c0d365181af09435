"""What is told of jobs that wait: the rules run forward, with nothing but the time that things take."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

import pytest

from app.domain import forecast as module
from app.domain.engine_spec import EngineSpec
from app.domain.estimates import later
from app.domain.forecast import LOOSE_SECONDS, Forecast, forecast
from app.domain.line import InLine
from app.domain.placement import Demand, Group, Policy
from app.domain.replica import Device, DeviceState, Replica, ReplicaStatus
from app.domain.virtual_cluster import Snapshot
from app.domain.virtual_work import JobWork

NUMBERS = count(1)
NOW = datetime(2026, 11, 27, tzinfo=UTC)
SLOT = Group("a", (Device("a-0", 0, "GPU"),), frozenset({"hf"}))


def work(
    model: str, seconds: float, *, owner: str = "ann", gpus: int = 1, load: float = 10.0, replicas: int = 1
) -> JobWork:
    engine, chunks = EngineSpec("hf", model, gpus=gpus), max(int(seconds), 1)
    demand = Demand(engine, 50, NOW, chunks, seconds * 100, replicas, load_seconds=load, speed=100.0)
    return JobWork(InLine(UUID(int=next(NUMBERS)), owner, owner, 50, NOW), demand, seconds, load)


def serving(model: str, status: ReplicaStatus = ReplicaStatus.SERVING, *, since: float = 3600.0) -> Replica:
    then = NOW - timedelta(seconds=since)
    loaded = then if status is ReplicaStatus.SERVING else None
    return Replica(UUID(int=1), "a", EngineSpec("hf", model), status, ("a-0",), then, then, loaded)


def cluster(*replicas: Replica, groups: tuple[Group, ...] = (SLOT,)) -> Snapshot:
    held = {device: DeviceState.HELD for replica in replicas for device in replica.devices}
    shown = [
        replace(group, devices=tuple(replace(d, state=held.get(d.id, d.state)) for d in group.devices))
        for group in groups
    ]
    return Snapshot(NOW, shown, list(replicas), Policy())


def told(there: Snapshot, *jobs: JobWork) -> list[Forecast]:
    found = forecast(there, jobs)
    return [found[job.line.id] for job in jobs]


def widths(told: Forecast) -> tuple[float, float]:
    assert told.start_low is not None
    assert told.start is not None
    assert told.start_high is not None
    return (told.start - told.start_low, told.start_high - told.start)


def test_a_job_begins_when_its_engine_is_loaded() -> None:
    (job,) = told(cluster(), work("m", 100, load=30))
    assert job.start == pytest.approx(30, abs=2)
    assert job.end == pytest.approx(130, rel=0.06)


def test_a_warm_engine_answers_at_once() -> None:
    (job,) = told(cluster(serving("m")), work("m", 100, load=30))
    assert job.start == pytest.approx(0, abs=1)


def test_an_engine_that_loads_needs_only_what_is_left() -> None:
    (job,) = told(cluster(serving("m", ReplicaStatus.LOADING, since=25)), work("m", 100, load=30))
    assert job.start == pytest.approx(5, abs=1)


def test_an_engine_that_is_on_its_way_out_leaves_its_devices() -> None:
    going = replace(serving("m"), release_requested_at=NOW)
    (job,) = told(cluster(going), work("m", 100, load=30))
    assert job.start == pytest.approx(33, abs=2)


def test_another_engine_waits_for_the_devices_of_the_first() -> None:
    first, second = told(cluster(), work("m", 50), work("n", 100))
    assert first.end is not None
    assert second.start is not None
    assert second.start == pytest.approx(first.end + 13, rel=0.15)


def test_owners_take_turns_on_a_shared_engine() -> None:
    first, second = told(cluster(serving("m")), work("m", 600), work("m", 600, owner="bob"))
    assert second.start is not None
    assert second.start < 30
    assert first.end == pytest.approx(1200, rel=0.1)


def test_what_may_be_wrong_is_told_as_a_range() -> None:
    sure, unsure = work("m", 100, load=100), replace(work("m", 100, load=100), spread=3.0)
    (first,), (second,) = (told(cluster(), each) for each in (sure, unsure))
    assert widths(first) == pytest.approx((23, 28), abs=2), "a quarter and some seconds at least"
    assert widths(second)[0] > 60
    assert widths(second)[1] > 200


def test_a_start_that_is_due_is_told_with_the_seconds_it_may_take() -> None:
    (job,) = told(cluster(serving("m")), work("m", 100))
    assert (job.start_low, job.start_high) == pytest.approx((0, LOOSE_SECONDS), abs=1)


def test_it_is_foreseen_when_an_engine_gives_way() -> None:
    """Its hold ends at 100 s, whatever else happens, or does not."""
    rival = replace(work("n", 20), line=InLine(UUID(int=next(NUMBERS)), "bob", "bob", 50, NOW))
    mine = work("m", 1000)
    used = {("ann", "ann"): 500.0}
    policy = Policy(hold=timedelta(seconds=100))
    there = replace(cluster(serving("m", since=30)), used=used, policy=policy)
    first, second = told(there, mine, rival)
    assert second.start == pytest.approx(70 + 1 + 1 + 10, abs=3)
    assert first.end == pytest.approx(1000 + 20 + 2 * 11, rel=0.05)


def test_a_job_is_told_where_it_is_thought_to_run() -> None:
    first, second = told(cluster(serving("m")), work("m", 10), work("n", 20))
    assert first.devices == second.devices == ("a-0",)
    assert later(first, -5).devices == ("a-0",)


def test_nothing_is_told_of_what_can_never_run() -> None:
    first, second = told(cluster(), work("wide", 10, gpus=2), work("m", 10))
    assert first == Forecast()
    assert second.end == pytest.approx(20, rel=0.2)


def test_the_work_is_bounded_however_many_jobs_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_JOBS", 50)
    monkeypatch.setattr(module, "MOST_TURNS", 40)
    jobs = [work(f"m{number}", 20) for number in range(2000)]
    found = forecast(cluster(), jobs)
    assert set(found) == {job.line.id for job in jobs[: module.MOST_JOBS]}
    assert 1 <= sum(each.end is not None for each in found.values()) < 25


def test_the_same_is_told_twice() -> None:
    jobs = [work(f"m{number % 7}", 60 + number, owner=f"o{number % 3}") for number in range(20)]
    assert forecast(cluster(), jobs) == forecast(cluster(), jobs)
