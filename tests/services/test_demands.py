"""What the scheduler asks of devices, by the plan of a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db.capacity import WaitingWork, to_device
from app.db.tables import DeviceRow
from app.domain.demands import merged
from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.placement import Demand, Policy
from app.domain.plan import Plan, PlannedMemory, least_bytes
from app.services.demands import DemandReader, demand_of
from tests.world import World, chunk

GIB = 2**30
MEMORY = PlannedMemory(
    rule_gb=16.2,
    weights_gib=12.6,
    activations_gib=1,
    runtime_gib=0.3,
    cache_gib=2,
    cache_kib_per_token=512,
    card_gib=17.3,
    source="a table",
)
PLAN = Plan("hf", 1, 1, 1, None, None, 15.9, (), "", MEMORY, "fits")
WORK = WaitingWork(
    uuid7(), "lab", "alice", EngineSpec("hf", "m"), 50, datetime(2026, 11, 27, tzinfo=UTC), PLAN, 1, 1.0
)


def test_devices_are_as_large_as_the_smallest_that_the_plan_fits() -> None:
    (found,) = merged([demand_of(WORK), demand_of(replace(WORK, plan=replace(PLAN, memory=None)), 1)])
    assert found.least_bytes == least_bytes(PLAN)
    assert 17.2 * GIB < (found.least_bytes or 0) < 17.3 * GIB


def test_a_plan_that_says_nothing_of_it_asks_nothing() -> None:
    unknown = replace(PLAN, memory=None, fit=None)
    assert demand_of(replace(WORK, plan=unknown)).least_bytes is None


def test_an_engine_that_was_spread_otherwise_since_is_asked_no_more_of() -> None:
    wider = replace(WORK, engine=replace(WORK.engine, gpus=2))
    assert demand_of(wider).least_bytes is None


@pytest.mark.parametrize(("traits", "island"), [({"island": 1}, 1), ({}, None), (None, None)])
def test_a_device_is_placed_by_the_island_that_its_worker_reports(
    traits: dict[str, Any] | None, island: int | None
) -> None:
    """Workers of earlier versions tell none."""
    row = DeviceRow(id="a", index=0, name="GPU", state="free", traits=traits)
    assert to_device(row).island == island


def test_a_demand_names_the_jobs_that_it_was_merged_from() -> None:
    other = replace(WORK, job_id=uuid7(), owner="bob", priority=10, cost=3.0)
    (found,) = merged([demand_of(WORK), demand_of(other, 1)])
    assert [(claim.job, claim.owner, claim.turn) for claim in found.claims] == [
        (WORK.job_id, "alice", 0),
        (other.job_id, "bob", 1),
    ]
    assert (found.priority, found.waiting_cost) == (50, 4.0)


def test_a_job_that_cannot_be_read_keeps_devices_from_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.running(chunks=1, model="/models/ours")
    with world.sessions.begin() as session:
        session.execute(text("""UPDATE jobs SET engine = engine || '{"of_tomorrow": 1}'"""))
    world.running(chunks=1, model="/models/theirs")
    world.devices(2)
    assert [world.scheduling.place_once() for _ in range(3)] == [1, 0, 0]
    assert caplog.text.count("its row cannot be read") == 1, "a turn comes twice a second"


def test_what_has_not_changed_is_asked_as_before(world: World) -> None:
    """A turn over thousands of jobs costs what has changed of them."""
    world.running(chunks=2, model="/models/other")
    job = world.running(chunks=2)
    reader, asked = DemandReader(), dict[UUID, list[Demand]]()
    for _ in range(3):
        with world.sessions.begin() as session:
            for demand in reader.read(session, Policy()):
                asked.setdefault(demand.claims[0].job, []).append(demand)
        if len(asked[job.id]) == 2:
            world.coordination.store_chunks(job, [chunk(job.id, 2)])
    ours = asked.pop(job.id)
    (theirs,) = asked.values()
    assert [demand.waiting_chunks for demand in ours] == [2, 2, 3]
    assert (len(set(map(id, ours))), len(set(map(id, theirs)))) == (2, 1)
