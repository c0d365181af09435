"""Devices that are a team's by the operator's setting: lent while it has no work, given back when it has."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from app.db.leader import Leadership
from app.domain.chunk import Room
from app.domain.job import Phase
from app.domain.lease import Lease, Order
from app.domain.placement import Policy
from app.domain.waits import Cause
from app.services.estimates import EstimateService
from app.services.queue import QueueService
from app.services.scheduling import SchedulingService, policy
from app.settings import Settings
from tests.jobs import submission
from tests.world import FINGERPRINT, TTL, World, chunk


def evaluating(world: World, team: str, **spec: object) -> Lease:
    """A job of the team, with chunks that wait."""
    job, _ = world.jobs.submit(submission(model=f"/models/{team}", **spec), "somebody", team=team)  # type: ignore[arg-type]
    claimed = world.coordination.claim(job.id, "coordinator")
    assert claimed
    lease, _ = claimed
    world.coordination.prepared(lease, FINGERPRINT, [("toy", 16)], {})
    world.coordination.store_plan(lease, (chunk(lease.id, n) for n in range(8)), 0)
    world.coordination.enter(lease, Phase.EVALUATING, "evaluating")
    return lease


def live(world: World) -> list[tuple[UUID, str]]:
    query = "SELECT id, engine->>'model' AS model FROM replicas WHERE ended_at IS NULL ORDER BY placed_at, id"
    with world.sessions.begin() as session:
        return [(row.id, row.model) for row in session.execute(text(query))]


def test_the_rules_are_tried_with_what_operators_get() -> None:
    knobs = {"idle_seconds", "hold_seconds", "team_quotas"}
    assert policy(Settings(**{name: Settings.model_fields[name].default for name in knobs})) == Policy()


def test_a_team_gets_its_devices_back_at_a_chunk_boundary(world: World, settings: Settings) -> None:
    rules = settings.model_copy(update={"team_quotas": {"red": 1}, "hold_seconds": 0.0})
    scheduling = SchedulingService(sessions=world.sessions, doorbell=world.bell, settings=rules)
    world.devices(2)
    evaluating(world, "blue", replicas=2, priority=90)
    scheduling.line_up_once()
    scheduling.place_once()
    borrowed = live(world)
    assert [model for _, model in borrowed] == ["/models/blue"] * 2, "idle devices are lent"
    leases = [claimed[0] for replica, _ in borrowed if (claimed := world.serving.claim(replica, "worker"))]
    with world.sessions.begin() as session:
        engine = session.scalar(text("SELECT engine_key FROM replicas LIMIT 1"))
    for lease in leases:
        world.serving.loaded(lease, {})
        assert world.serving.next(lease, engine, Room(1.0, 1)).chunks
    evaluating(world, "red", priority=10)
    with world.sessions.begin() as session:
        session.execute(
            text(
                "UPDATE replicas SET placed_at = placed_at - interval '1 h', serving_at = serving_at"
                " - interval '1 h', claimed_at = claimed_at - interval '1 h'"
            )
        )
    scheduling.line_up_once()
    scheduling.place_once()
    assert sorted(world.serving.renew(lease) for lease in leases) == [Order.GO_ON, Order.RELEASE]


def test_a_job_says_that_a_quota_holds_it_back_only_while_it_does(world: World, settings: Settings) -> None:
    rules = settings.model_copy(update={"team_quotas": {"red": 1}})
    estimates = EstimateService(sessions=world.sessions, settings=rules)
    ours, theirs = evaluating(world, "blue", priority=90), evaluating(world, "red", priority=10)
    with Leadership(settings).sought(60.0) as lead:
        assert lead
        causes = list[dict[UUID, Cause]]()
        for devices in (1, 2):
            world.devices(devices)
            estimates.look_once()
            told = estimates.latest
            page = QueueService(sessions=world.sessions, ttl=TTL, estimates=told).page(100)
            causes.append({each.job.id: each.wait.cause for each in page.waiting})
    estimates.close()
    assert causes == [
        {ours.id: Cause.QUOTA, theirs.id: Cause.DEVICES},
        {ours.id: Cause.DEVICES, theirs.id: Cause.DEVICES},
    ]
