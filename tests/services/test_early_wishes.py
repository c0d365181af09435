"""Which jobs an engine may be started for early, and for which it is kept."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import event, text

from app.db.capacity import MOST_EXPECTED, CapacityRepository
from app.db.early_starts import MOST_ALIKE
from app.domain.chunk import AfterFailure
from app.domain.job import Phase
from app.domain.replica import ReplicaStatus
from tests.services.test_early_starts import FAILED, loading, prepare, store, turn
from tests.services.test_ledger import claim
from tests.world import World


def expected(world: World) -> dict[UUID, bool]:
    """For which jobs an engine is kept, and whether one may be started."""
    with world.sessions.begin() as session:
        return {item.job_id: may for item, may in CapacityRepository(session).expected()}


def test_an_engine_is_kept_for_a_job_that_others_go_before(world: World) -> None:
    world.devices(MOST_EXPECTED)
    jobs = [world.submit(model=f"/models/{number}") for number in range(MOST_EXPECTED + 1)]
    assert len(turn(world)) == MOST_EXPECTED
    urgent = world.submit(model="/models/urgent", priority=90)
    assert {asked for _, asked in turn(world)} == {""}
    told = expected(world)
    assert next(iter(told)) == urgent
    assert told.keys() == {urgent, *jobs[:MOST_EXPECTED]}
    assert [job for job in told if told[job]] == [urgent]
    world.jobs.cancel(jobs[MOST_EXPECTED - 1])
    assert expected(world).keys() == {urgent, *jobs[: MOST_EXPECTED - 1]}


def test_a_job_that_is_taken_up_meanwhile_is_expected_all_the_same(world: World) -> None:
    job = world.submit()
    with world.sessions.begin() as session:
        read = session.connection()
        event.listen(read, "after_cursor_execute", lambda *_: prepare(world), once=True)
        assert [item.job_id for item, _ in CapacityRepository(session).expected()] == [job]
    assert expected(world) == {job: True}


def test_what_was_given_back_while_a_job_was_in_line_is_begun_once_more(world: World) -> None:
    world.devices(1)
    job = world.submit()
    for begun in (1, 2):
        assert turn(world) == [("placed", "")]
        world.serving.end(loading(world), ReplicaStatus.RELEASED)
        world.mark("GPU-0")
        assert turn(world) == []
        if begun == 1:
            prepare(world)
    assert expected(world) == {job: False}


@pytest.mark.parametrize("fails", [False, True], ids=["cancelled", "failed"])
def test_with_its_first_requests_it_is_an_engine_like_any_other(world: World, *, fails: bool) -> None:
    world.devices(1)
    job = world.submit()
    turn(world)
    replica, lease = loading(world), prepare(world)
    world.serving.loaded(replica, {})
    store(world, lease)
    world.coordination.enter(lease, Phase.EVALUATING, "evaluating")
    (claimed,) = claim(world, replica)
    if fails:
        world.serving.chunk_failed(replica, claimed.chunk, AfterFailure.GIVE_UP, [], FAILED)
    else:
        world.jobs.cancel(job)
    assert turn(world) == [("serving", "")]


def test_of_many_jobs_that_asked_the_same_the_newest_tell_whether_it_is_answered(world: World) -> None:
    for number in range(MOST_ALIKE + 1):
        job = world.submit()
        with world.sessions.begin() as session:
            done = """UPDATE jobs SET status = 'succeeded', ended_at = now(), fingerprint = :own,
                created_at = now() - make_interval(hours => 9 - abs(:number - 4)) WHERE id = :id"""
            session.execute(text(done), {"own": bytes([number]), "number": number, "id": job})
    again, told = world.submit(), []
    for number in range(MOST_ALIKE + 1):
        with world.sessions.begin() as session:
            session.execute(text("DELETE FROM responses"))
            kept = "INSERT INTO responses (fingerprint, key, value) VALUES (:own, :own, :own)"
            session.execute(text(kept), {"own": bytes([number])})
        told.append(expected(world)[again])
    assert [number for number, may in enumerate(told) if may] == [4], "the oldest is not looked at"
