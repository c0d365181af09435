"""A job is parked, kept and given back: its harness is ended between two tries, and nothing is asked or told twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import text

from app.domain import parking
from app.domain.failure import Failure, FailureCode
from app.domain.job import LATE, Job, JobStatus, Phase
from app.domain.lease import Lease, Order
from app.domain.parking import Stir
from app.errors import DatabaseRefusedError, DatabaseUnreachableError, LeaseLostError
from app.traces import NoTraces
from tests.services.test_remedies import SHORTER
from tests.waiting import until
from tests.workers.coordinator.peers import KEYS, PLAN, PREPARED, Engine, Try, an_attempt, chunk
from tests.workers.coordinator.test_endings import fail, remedied
from tests.world import chunk as stored
from workers.coordinator.attempt import Attempt, AttemptLog
from workers.coordinator.endings import Ended, Parked
from workers.coordinator.parked import UNREAD, ParkedJobs
from workers.coordinator.run_spans import RunSpans
from workers.protocol.harness import (
    AllCut,
    Found,
    FromHarness,
    LookUp,
    RequestFailed,
    Results,
    ScoringBegun,
    TaskFinished,
)

FAILURE = Failure(FailureCode.TASK_ERROR, "the engine cannot answer this")
SCORED = (ScoringBegun(), TaskFinished("toy", '{"acc": 1.0}', None), Results("{}", "m", "2026-01-01"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PATIENCE_SECONDS", 0.0)


@pytest.fixture
def keeper(one: Try, tmp_path: Path) -> ParkedJobs:
    """Whoever keeps the parked jobs of a coordinator."""

    def attempt_of(lease: Lease, job: Job) -> Attempt:
        log = AttemptLog(tmp_path / "again.log", 1 << 20, print)
        return Attempt(lease, log, threading.Event(), RunSpans(NoTraces(), job), was_parked=True)

    return ParkedJobs(
        coordination=one.world.coordination,
        settings=one.settings.model_copy(update={"lease_seconds": 0.0}),
        holder="coordinator",
        attempt_of=attempt_of,
    )


def parked(one: Try, *plan: FromHarness) -> Parked:
    """The job gives up its place to a more urgent one."""
    one.world.submit(priority=99)
    one.crowded = True
    ending = one.ends(*(plan or PLAN))
    assert isinstance(ending, Parked), ending
    return ending


def claimed_again(one: Try, path: Path) -> Try:
    """The next try, of a coordinator that has a place for the job; the urgent one is in other hands."""
    assert one.world.coordination.claim(one.lease.id, "another")
    attempt = an_attempt(one.world, one.lease.id, path)
    attempt.was_parked = True
    return one.again(attempt)


def test_a_job_that_waits_gives_up_its_place_where_others_want_it(one: Try) -> None:
    with one.evaluating() as ending:
        one.world.submit(priority=99)
        until(lambda: one.job.reason == "waiting for 1 free device in one group")
        assert not ending.done()
        one.crowded = True
        assert isinstance(ending.result(20), Parked)

    assert (one.job.status, one.job.phase) == (JobStatus.RUNNING, Phase.WAITING_FOR_GPU)
    assert one.world.coordination.pending_keys(one.lease.id) == set(KEYS)


def test_a_place_that_nobody_wants_is_kept(one: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Lease] = []
    monkeypatch.setattr(one.world.coordination.parking, "wants_room", lambda lease, _: asked.append(lease))
    one.crowded = True
    with one.evaluating() as ending:
        until(lambda: len(asked) > 2)
        assert not ending.done()


def test_a_kept_job_shows_where_it_waits_and_how_far_it_is(
    one: Try, engine: Engine, keeper: ParkedJobs
) -> None:
    keeper.keep(parked(one, PREPARED, LookUp(KEYS), chunk(KEYS[0]), chunk(KEYS[1]), AllCut()).course)
    assert keeper.look_once() == 1
    assert one.job.phase is Phase.LOADING
    engine.world.serving.loaded(engine.lease, {})
    first, _ = engine.takes()
    engine.stores(first)
    assert keeper.look_once() == 1

    assert (one.job.phase, one.job.requests_done, one.job.tasks[0].done) == (Phase.EVALUATING, 1, 1)
    assert one.job.gpu_seconds == 0.5
    assert one.told("job.progress")[-1]["tasks"] == {"toy": 1}


def test_the_harness_goes_on_once_all_is_answered(
    one: Try, engine: Engine, keeper: ParkedJobs, tmp_path: Path
) -> None:
    keeper.keep(parked(one).course)
    engine.answers("a")
    assert keeper.look_once() == 0
    assert (one.job.requests_done, one.job.attempt) == (2, 1)

    again = claimed_again(one, tmp_path)
    assert again.ends(PREPARED, LookUp(KEYS), AllCut(), *SCORED) == Ended()
    again.child.order()
    found = again.child.hears(Found)
    assert {key for key, _, _ in found.responses} == set(KEYS)
    assert (one.job.status, one.job.requests_done, one.job.attempt) == (JobStatus.SUCCEEDED, 2, 1)
    phases = [told["phase"] for told in one.told("job.phase")]
    assert phases == ["preparing", "loading", "scoring"]
    assert (one.told("job.retrying"), len(one.told("job.task_finished"))) == ([], 1)


def test_its_tasks_stand_where_they_stood_while_its_harness_starts_again(
    one: Try, engine: Engine, keeper: ParkedJobs, tmp_path: Path
) -> None:
    keeper.keep(parked(one).course)
    engine.answers("a")
    assert keeper.look_once() == 0
    again = claimed_again(one, tmp_path)
    with again.running(PREPARED, LookUp(KEYS)):
        again.child.hears(Found)
        assert [(task.done, task.total) for task in one.job.tasks] == [(2, 2)]


def test_what_failed_is_judged_while_others_wait_and_never_asked_again(
    one: Try, engine: Engine, keeper: ParkedJobs, tmp_path: Path
) -> None:
    plan = (PREPARED, LookUp(KEYS), chunk(KEYS[0]), chunk(KEYS[1]), AllCut())
    keeper.keep(parked(one, *plan).course)
    first, second = engine.takes()
    engine.world.serving.keep_only(engine.lease, [first.chunk.id])
    while engine.world.coordination.parking.stirs([one.lease])[one.lease.id].pending and not (
        one.world.coordination.parking.failures(one.lease.id)
    ):
        one.world.fail(engine.lease, first.chunk, FAILURE)
        first = next((each for each in engine.takes() if each.chunk.keys == first.chunk.keys), first)
    assert keeper.look_once() == 0

    again = claimed_again(one, tmp_path)
    with again.running(PREPARED, LookUp(KEYS), AllCut()):
        assert set(again.child.hears(Found).pending) == set(KEYS)
        failed = again.child.hears(RequestFailed)
        assert (failed.key, failed.fault.message) == (KEYS[0], FAILURE.message)
        until(lambda: one.job.requests_done == 1)
        assert one.world.coordination.pending_keys(one.lease.id) == {second.chunk.keys[0]}
    third = again.again()
    with third.running(PREPARED, LookUp(KEYS), AllCut()):
        assert third.child.hears(Found)
        assert third.child.hears(RequestFailed).key == KEYS[0]


@pytest.mark.parametrize(("asked", "status"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)])
def test_its_user_is_obeyed_without_a_place(
    one: Try, keeper: ParkedJobs, asked: str, status: JobStatus
) -> None:
    keeper.keep(parked(one).course)
    getattr(one.world.jobs, asked)(one.lease.id)
    assert keeper.look_once() == 0
    assert one.job.status is status


def test_a_job_that_is_late_fails_without_a_place(one: Try, keeper: ParkedJobs) -> None:
    keeper.keep(parked(one).course)
    with one.world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET deadline_at = now() - interval '1 s'"))
    assert keeper.look_once() == 0
    assert (one.job.status, one.job.error) == (JobStatus.FAILED, LATE)


def test_prompts_for_another_length_are_built_by_a_harness(
    one: Try, engine: Engine, keeper: ParkedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedied(monkeypatch, SHORTER)
    keeper.keep(parked(one).course)
    fail(engine)
    assert keeper.look_once() == 0
    assert one.job.phase is Phase.PREPARING
    claimed = [one.world.coordination.claim(one.lease.id, "another") for _ in range(2)]
    assert [claim and claim[1].phase for claim in claimed] == [Phase.PREPARING, Phase.PREPARING]


def test_another_coordinator_keeps_what_one_let_go(one: Try, engine: Engine, keeper: ParkedJobs) -> None:
    keeper.keep(parked(one).course)
    over = threading.Event()
    over.set()
    keeper.run(over)
    assert keeper.look_once() == 1
    engine.answers("a")
    assert keeper.look_once() == 0
    assert one.job.requests_done == 2


def test_another_keeper_counts_nothing_that_several_tasks_ask_for_as_done(
    one: Try, engine: Engine, keeper: ParkedJobs
) -> None:
    keeper.keep(parked(one).course)
    keeper.let_go()
    with one.world.sessions.begin() as session:
        session.execute(text("UPDATE jobs SET requests_total = 10"))
        session.execute(text("UPDATE job_tasks SET total = 10"))
    assert keeper.look_once() == 1
    assert one.job.requests_done == 0


def test_a_job_that_cannot_be_read_holds_up_no_other(
    one: Try, engine: Engine, keeper: ParkedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version wrote it: it is told so, once, when that can be, and tried again under the next lease."""
    parked(one)
    other = one.world.coordination.claim(one.lease.id, "coordinator")
    assert other
    one.world.coordination.enter(other[0], Phase.WAITING_FOR_GPU, "waiting")
    one.world.coordination.store_plan(other[0], [stored(other[0].id, 0)], 0)
    one.world.coordination.parking.park(other[0])
    stranger = """UPDATE jobs SET engine = engine || '{"of_tomorrow": 1}' WHERE id = :id"""
    for failure in (LeaseLostError("lost"), DatabaseRefusedError("refused"), None, None):
        for lease in (one.lease, other[0]):
            one.world.expire(lease)
        one.world.scheduling.expire_once()
        with one.world.sessions.begin() as session:
            session.execute(text(stranger), {"id": one.lease.id})
        with monkeypatch.context() as patched:
            if failure:
                patched.setattr(one.world.coordination, "warn", Mock(side_effect=failure))
            assert keeper.look_once() == 1
        keeper.let_go()
    with one.world.sessions.begin() as session:
        told = "SELECT data->>'reason' FROM job_events WHERE job_id = :id AND type = 'job.warning'"
        (why,) = session.scalars(text(told), {"id": one.lease.id}).all()
    assert why.startswith(UNREAD)


def test_a_lost_lease_is_forgotten(one: Try, keeper: ParkedJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one.world.coordination.parking, "adopt", lambda _: [])
    keeper.keep(parked(one).course)
    one.world.expire(one.lease)
    assert keeper.look_once() == 0
    assert one.job.status is JobStatus.RUNNING


def test_a_job_that_cannot_be_looked_at_is_left_to_a_coordinator_with_a_place(
    one: Try, engine: Engine, keeper: ParkedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = parked(one).course
    keeper.keep(course)
    monkeypatch.setattr(course, "charge", lambda _: 1 / 0)
    assert keeper.look_once() == 0
    assert one.world.coordination.parking.adopt("another") == []
    assert one.world.scheduling.announce_once() > 0


def test_a_job_of_which_the_database_refuses_something_holds_up_no_other(
    one: Try, engine: Engine, keeper: ParkedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = parked(one).course
    keeper.keep(course)

    def refused(_: object) -> None:
        raise DatabaseRefusedError("the database refused what was to be stored")

    monkeypatch.setattr(course, "charge", refused)
    assert keeper.look_once() == 0
    assert one.world.scheduling.announce_once() > 0


def test_leases_are_renewed_while_many_are_looked_at(
    one: Try, keeper: ParkedJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked(one)
    other = one.world.coordination.claim(one.lease.id, "coordinator")
    assert other
    service, done = one.world.coordination.parking, list[str]()
    service.park(other[0])
    for lease in (one.lease, other[0]):
        one.world.expire(lease)
    one.world.scheduling.expire_once()
    renew, stirs = service.renew_all, service.stirs
    moving = Stir(Order.GO_ON, answering=True, pending=True, unjudged=False)
    monkeypatch.setattr(service, "stirs", lambda leases: dict.fromkeys(stirs(leases), moving))

    def renewed(leases: Sequence[Lease]) -> None:
        done.append("renew")
        renew(leases)

    def looked_at(*_: object) -> bool:
        done.append("look")
        return True

    monkeypatch.setattr(service, "renew_all", renewed)
    monkeypatch.setattr(keeper, "_goes_on_waiting", looked_at)
    assert keeper.look_once() == 2
    assert done == ["renew", "look", "renew", "look"]


def test_an_outage_forgets_nothing(one: Try, keeper: ParkedJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    course = parked(one).course
    keeper.keep(course)

    def away(_: object) -> None:
        raise DatabaseUnreachableError("the database does not answer: gone")

    with monkeypatch.context() as patched:
        patched.setattr(course, "charge", away)
        with pytest.raises(DatabaseUnreachableError):
            keeper.look_once()
    assert keeper.look_once() == 1
