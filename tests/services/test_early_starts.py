"""Engines begin to load when a job is accepted, and what that means is in the database, whoever dies in between."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.failure import Failure, FailureCode
from app.domain.job import JobStatus, Phase
from app.domain.keys import DEFAULT_TEAM
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.services.scheduling import SchedulingService
from app.settings import Settings
from tests.services.test_ledger import answer, charged, claim, pass_, unaccounted
from tests.world import ENGINE, FINGERPRINT, World, chunk

FAILED = Failure(FailureCode.ENGINE_START_FAILED, "it does not load")


def turn(world: World) -> list[tuple[str, str]]:
    """One turn of the scheduler; the live replicas as they are then, and what they were asked."""
    world.scheduling.place_once()
    query = """SELECT status, coalesce(release_reason, '') AS asked FROM replicas
        WHERE status IN ('placed', 'loading', 'serving') ORDER BY placed_at"""
    with world.sessions.begin() as session:
        return [(row.status, row.asked) for row in session.execute(text(query))]


def loading(world: World) -> Lease:
    """The replica that was started last, in its worker's hands."""
    with world.sessions.begin() as session:
        found = session.scalar(text("SELECT id FROM replicas ORDER BY placed_at DESC LIMIT 1"))
    claimed = world.serving.claim(found, "worker")
    assert claimed
    return claimed[0]


def prepare(world: World) -> Lease:
    """A coordinator has the first job in line."""
    claimed = world.coordination.claim(UUID(int=0), "coordinator")
    assert claimed
    return claimed[0]


def store(world: World, lease: Lease, chunks: int = 1) -> None:
    """The requests of a job are there."""
    world.coordination.prepared(lease, FINGERPRINT, [("toy", 2 * chunks)], {})
    world.coordination.store_plan(lease, (chunk(lease.id, place) for place in range(chunks)), 0)


def test_an_engine_loads_from_when_its_job_is_accepted_until_it_has_something_to_answer(world: World) -> None:
    world.devices(2)
    job = world.submit()
    assert turn(world) == turn(world) == [("placed", "")]
    replica = loading(world)
    lease = prepare(world)
    assert turn(world) == [("loading", "")]
    world.serving.loaded(replica, {})
    assert "replica.started" in [kind for _, kind in world.events(job)]
    store(world, lease)
    assert turn(world) == [("serving", "")], (
        "its requests are stored, and its coordinator has not said so yet"
    )
    world.coordination.enter(lease, Phase.LOADING, "loading")
    assert turn(world) == [("serving", "")]
    answer(world, replica, claim(world, replica)[0], 0)
    world.coordination.stop(lease, JobStatus.CANCELLED, "done")
    assert turn(world) == [("serving", "")], "it stays warm as any other"


def cancel_queued(world: World, job: UUID, _: Lease | None) -> None:
    world.jobs.cancel(job)


def fail(world: World, _: UUID, lease: Lease | None) -> None:
    assert lease
    world.coordination.fail(lease, FAILED)


def score(world: World, _: UUID, lease: Lease | None) -> None:
    """Everything was stored already."""
    assert lease
    store(world, lease, 0)
    world.coordination.enter(lease, Phase.SCORING, "scoring")


def delete(world: World, job: UUID, _: Lease | None) -> None:
    world.jobs.cancel(job)
    world.jobs.delete(job)


@pytest.mark.parametrize(
    ("ends", "prepares"),
    [
        (cancel_queued, False),
        (lambda world, job, _: world.jobs.pause(job), False),
        (delete, False),
        (lambda world, job, _: world.jobs.cancel(job), True),
        (lambda world, job, _: world.jobs.pause(job), True),
        (fail, True),
        (score, True),
    ],
    ids=["cancelled", "paused", "deleted", "asked to end", "asked to pause", "failed", "all answered"],
)
@pytest.mark.parametrize("serves", [False, True])
def test_it_is_given_back_when_the_job_does_not_need_it(
    world: World, ends: Callable[[World, UUID, Lease | None], object], prepares: bool, serves: bool
) -> None:
    world.devices(1)
    job = world.submit()
    turn(world)
    replica = loading(world)
    if serves:
        world.serving.loaded(replica, {})
    lease = prepare(world) if prepares else None
    assert turn(world)[0][1] == ""
    ends(world, job, lease)
    assert turn(world)[0][1].startswith("the job that it was loaded early for")


def test_a_job_that_asks_what_was_answered_before_starts_nothing_while_answers_are_kept(world: World) -> None:
    world.devices(1)
    first = world.running(chunks=1, limit=4)
    turn(world)
    replica = loading(world)
    world.serving.loaded(replica, {})
    answer(world, replica, claim(world, replica)[0], 0)
    world.coordination.task_finished(first, "toy", {})
    world.coordination.finish(first, "{}", "m", "now")
    world.serving.end(replica, ReplicaStatus.RELEASED)
    world.mark("GPU-0")
    assert world.jobs.view(first.id).job.status is JobStatus.SUCCEEDED
    again = world.submit(limit=4, name="again", priority=60)
    assert turn(world) == []
    with world.sessions.begin() as session:
        session.execute(text("DELETE FROM responses"))
    assert turn(world) == [("placed", "")]
    world.jobs.cancel(again)
    assert turn(world) == []
    world.submit(limit=5)
    assert turn(world) == [("placed", "")]


def test_a_job_that_wants_everything_answered_anew_is_not_taken_for_answered(world: World) -> None:
    query = text("SELECT questions FROM jobs WHERE id = :id")
    with world.sessions.begin() as session:
        plain, same, anew, other = (
            session.scalar(query, {"id": world.submit(**spec)})
            for spec in ({}, {"tags": ("x",)}, {"reuse_responses": False}, {"num_fewshot": 3})
        )
    assert plain == same
    assert anew is None
    assert other not in {None, plain}


def test_an_engine_that_does_not_load_is_not_tried_for_one_job_after_the_other(world: World) -> None:
    world.devices(1)
    world.submit()
    turn(world)
    world.serving.end(loading(world), ReplicaStatus.FAILED, FAILED)
    world.mark("GPU-0")
    for _ in range(3):
        world.submit()
        assert turn(world) == []


@pytest.mark.parametrize("claimed_before", [False, True], ids=["queued", "prepared"])
def test_a_failed_early_start_counts_as_one_of_a_job_that_is_prepared(
    world: World, claimed_before: bool
) -> None:
    """Of one that nobody has begun nothing is told: its engine is tried when there are requests."""
    world.devices(1)
    job = world.submit()
    turn(world)
    lease = prepare(world) if claimed_before else None
    world.serving.end(loading(world), ReplicaStatus.FAILED, FAILED)
    lease = lease or prepare(world)
    store(world, lease)
    world.coordination.enter(lease, Phase.WAITING_FOR_GPU, "waiting")
    troubles = world.coordination.remedies.troubles(world.jobs.view(job).job)
    assert len(troubles.starts) == claimed_before


def test_a_job_gets_one_early_start_and_no_more(world: World) -> None:
    world.devices(1)
    world.submit()
    turn(world)
    world.serving.end(loading(world), ReplicaStatus.RELEASED)
    world.mark("GPU-0")
    assert turn(world) == []


def test_whoever_has_requests_is_given_the_devices(world: World) -> None:
    world.devices(1)
    world.submit(model="/models/early")
    turn(world)
    loading(world)
    world.running(chunks=1, priority=90)
    assert turn(world) == [("loading", f"{ENGINE.model} waits for its devices")]


def test_it_is_told_for_which_job_an_engine_loads_to_those_who_may_see_it(world: World) -> None:
    world.devices(1)
    job = world.submit()
    turn(world)

    def told(team: str | None) -> str | None:
        (state,) = world.groups.all(team)
        (replica,) = state.replicas
        return state.reason(replica)

    assert told(None) == told(DEFAULT_TEAM) == f"loading early for job {job}"
    assert told("others") == "loading early for a job of another team"
    replica, lease = loading(world), prepare(world)
    world.serving.loaded(replica, {})
    assert told(None) == f"loaded early for job {job}"
    world.submit()
    store(world, lease)
    world.coordination.stop(lease, JobStatus.CANCELLED, "done")
    assert turn(world) == [("serving", "")]
    assert told(None) == told("others") == "loaded early"
    lease = prepare(world)
    store(world, lease)
    world.coordination.enter(lease, Phase.EVALUATING, "evaluating")
    answer(world, replica, claim(world, replica)[0], 0)
    assert told(None) is None


def test_the_time_before_the_first_request_is_loading_and_nobodys(world: World) -> None:
    world.devices(2)
    world.submit()
    turn(world)
    replica, lease = loading(world), prepare(world)
    pass_(world, replica, 20)
    world.serving.loaded(replica, {})
    assert claim(world, replica) == []
    pass_(world, replica, 10)
    world.serving.renew(replica)
    pass_(world, replica, 10)
    store(world, lease)
    world.coordination.enter(lease, Phase.EVALUATING, "evaluating")
    (claimed,) = claim(world, replica)
    pass_(world, replica, 5)
    answer(world, replica, claimed, 5)
    assert claim(world, replica) == []
    pass_(world, replica, 7)
    world.serving.end(replica, ReplicaStatus.RELEASED)
    assert charged(world) == {"loading": 40, "useful alice": 5, "idle": 7}
    assert abs(unaccounted(world)) < 1


def test_what_was_loaded_for_nobody_was_loading_to_its_end(world: World) -> None:
    world.devices(1)
    world.submit()
    turn(world)
    replica = loading(world)
    pass_(world, replica, 20)
    world.serving.loaded(replica, {})
    pass_(world, replica, 30)
    world.serving.end(replica, ReplicaStatus.RELEASED)
    assert charged(world) == {"loading": 50}


def test_an_operator_can_do_without(world: World, settings: Settings) -> None:
    world.devices(1)
    world.submit()
    off = settings.model_copy(update={"early_start": False})
    service = SchedulingService(sessions=world.sessions, doorbell=world.bell, settings=off)
    assert service.place_once() == 0
    turn(world)
    assert service.place_once() == 1, "what was begun before is given back"
