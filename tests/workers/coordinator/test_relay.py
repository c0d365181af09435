"""One try at a job: what each message of its harness child does, and what the child is told."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial

import msgpack
import pytest

from app.db.capacity import CapacityRepository
from app.domain.chunk import Room
from app.domain.failure import Failure, FailureCode
from app.domain.job import JobStatus, JobTask, Phase
from app.domain.output import SampleFilter
from app.domain.quality import TaskQuality
from app.domain.whereabouts import where
from tests.waiting import until
from tests.workers.coordinator.peers import KEYS, NOTE, PLAN, PREPARED, TOTALS, Engine, Try, chunk
from tests.world import ENGINE, FINGERPRINT, World
from tests.world import chunk as stored_chunk
from workers.coordinator import relay, requests
from workers.coordinator.endings import Ended
from workers.protocol.harness import (
    AllCut,
    EngineSettled,
    FactsTold,
    FailureTold,
    Found,
    JobFailed,
    JudgeSettings,
    LookUp,
    QualityTold,
    RequestFailed,
    Responses,
    Results,
    SampleRows,
    SampleTold,
    ScoringBegun,
    SettingsJudged,
    TaskFailed,
    TaskFinished,
    TaskProgress,
    TellFacts,
    Withdraw,
)
from workers.protocol.payload import pack_response

FAULT = FailureTold("task_error", "it divides by zero", "frame 1\nframe 2", "look at the metric")
DONE = (TaskFinished("toy", '{"acc,none": 0.5}', None), Results('{"results": {}}', "m", "2026-01-01"))


def task(one: Try) -> JobTask:
    (found,) = one.job.tasks
    return found


def test_the_order_comes_first_and_says_all_that_is_known(one: Try) -> None:
    one.attempt.given_up["gone"] = Failure(FailureCode.TASK_ERROR, "it exits")
    one.ends(JobFailed(FAULT))
    order = one.child.order()

    assert (order.job_id, order.salt, order.spec.tasks) == (str(one.lease.id), None, ("toy",))
    assert order.engine.model == "/models/tiny"
    assert order.given_up == {"gone": FailureTold("task_error", "it exits")}


def test_what_was_prepared_is_stored(one: Try) -> None:
    one.ends(PREPARED, *DONE)

    assert [(found.name, found.total) for found in one.job.tasks] == list(TOTALS)
    assert one.world.results.document(one.lease.id)["evalq"]["versions"] == {"lm_eval": "0"}


def test_the_job_goes_on_with_the_engine_that_its_prompts_were_cut_for(one: Try) -> None:
    before, args = one.job.engine, {"dtype": "float32", "max_model_len": 2048}
    with one.running(EngineSettled(args), *PLAN):
        until(lambda: one.job.phase != Phase.PREPARING)
        with one.world.sessions.begin() as session:
            (work,) = CapacityRepository(session).work()

    assert one.job.engine == replace(before, args=args) != before
    assert work.engine == one.job.engine


def test_stored_answers_are_handed_on_shut(one: Try, engine: Engine) -> None:
    one.world.running(chunks=1)
    engine.answers([-1.5, True])
    known = b"0/0"

    with one.running(PREPARED, LookUp((known, KEYS[1]))):
        assert one.child.hears(Found) == Found(((known, pack_response([-1.5, True]), NOTE),), ())


def test_requests_in_chunks_of_an_earlier_try_are_told_to_be_waiting(one: Try) -> None:
    one.world.coordination.prepared(one.lease, FINGERPRINT, TOTALS, {})
    one.world.coordination.store_chunks(one.lease, [stored_chunk(one.lease.id, 7)])
    with one.running(PREPARED, LookUp((b"7/0", KEYS[0])), LookUp((b"7/1",))):
        assert one.child.hears(Found) == Found((), (b"7/0",))
        assert one.child.hears(Found) == Found((), (b"7/1",))


@pytest.mark.parametrize("count", [1, requests.CHUNKS_AT_ONCE, 2 * requests.CHUNKS_AT_ONCE + 1])
def test_chunks_are_stored_in_the_order_they_were_cut_in(one: Try, engine: Engine, count: int) -> None:
    keys = [b"%032d" % number for number in range(count)]
    with one.running(PREPARED, *(chunk(key) for key in keys), AllCut()):
        until(lambda: one.job.phase != Phase.PREPARING)
        taken = [claimed.chunk for claimed in engine.takes()]

    assert [each.keys for each in taken] == [(key,) for key in keys]
    assert [each.position for each in taken] == list(range(count))


def test_no_engine_gets_a_first_chunk_before_all_are_stored(one: Try, engine: Engine) -> None:
    keys = [b"%032d" % number for number in range(requests.CHUNKS_AT_ONCE)]
    with one.running(PREPARED, *(chunk(key) for key in keys)):
        until(lambda: one.world.coordination.pending_keys(one.lease.id))
        assert engine.takes() == []


def test_engines_are_asked_for_as_soon_as_all_is_stored(one: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LOOK_SECONDS", 3600.0)
    with one.running(*PLAN):
        until(lambda: one.job.phase != Phase.PREPARING)


def test_responses_travel_shut(one: Try, engine: Engine) -> None:
    with one.evaluating():
        engine.answers("a text")
        heard = one.child.hears(Responses)

    assert sorted(heard.responses) == [(key, msgpack.packb("a text"), NOTE) for key in sorted(KEYS)]


def test_a_request_that_no_engine_answers_is_told_with_its_fault(one: Try, engine: Engine) -> None:
    with one.running(PREPARED, chunk(KEYS[0]), AllCut()):
        until(lambda: one.job.phase != Phase.PREPARING)
        for _ in range(2):
            (claimed,) = engine.takes()
            one.world.fail(engine.lease, claimed.chunk, Failure(FailureCode.INTERNAL, "it is not liked"))
        assert one.child.hears(RequestFailed) == RequestFailed(
            KEYS[0], FailureTold("internal", "it is not liked")
        )


def test_requests_that_nobody_asks_any_more_leave_their_chunks(one: Try) -> None:
    with one.evaluating(Withdraw(KEYS)):
        until(lambda: not one.world.coordination.pending_keys(one.lease.id))


def test_a_tasks_settings_are_judged_for_the_backend_of_the_job(one: Try) -> None:
    with one.running(JudgeSettings('{"until": [5]}')):
        (fault,) = one.child.hears(SettingsJudged).faults

    assert fault == "generation_kwargs.until must be text, or a list of at most 1000 texts, not [5]"


def test_progress_of_a_task_is_told(one: Try) -> None:
    with one.evaluating(TaskProgress("toy", 1)):
        until(lambda: one.job.requests_done == 1)

    assert one.told("job.progress")[-1]["tasks"] == {"toy": 1}


def test_a_task_that_fails_keeps_the_end_of_its_traceback(one: Try) -> None:
    one.ends(PREPARED, TaskFailed("toy", FAULT), JobFailed(FAULT))
    error = task(one).error

    assert error == Failure(
        FailureCode.TASK_ERROR, FAULT.message, task="toy", hint=FAULT.hint, log_tail=("frame 1", "frame 2")
    )


def test_a_finished_task_shows_its_metrics_and_its_quality_before_the_job_ends(one: Try) -> None:
    quality = QualityTold(2, 1, 2, 0, 1, 2, 2, 0, 256, {"strict": 1})
    with one.evaluating(TaskFinished("toy", '{"acc,none": 0.5}', None, quality)):
        until(lambda: task(one).metrics == {"acc,none": 0.5})
        assert task(one).quality == TaskQuality(**asdict(quality))
        until(lambda: one.job.requests_done == 2)
        assert task(one).error is None


def test_a_task_that_is_scored_in_part_says_what_is_missing(one: Try) -> None:
    one.ends(PREPARED, TaskFinished("toy", "{}", FAULT), DONE[1])

    assert task(one).error
    assert one.job.status is JobStatus.PARTIALLY_FAILED


def test_sample_lines_are_numbered_on(one: Try) -> None:
    rows = [
        SampleRows("toy", (SampleTold('{"n": 0}', True, False, True), SampleTold('{"n": 1}'))),
        SampleRows("toy", (SampleTold('{"n": 2}', False, True, False),)),
        SampleRows("toy", (SampleTold('{"n": 3}'),)),
    ]
    one.ends(PREPARED, *rows, *DONE)

    rows_of = partial(one.world.results.samples, one.lease.id, task="toy", after=None, limit=9)
    assert [(row.position, row.row) for row in rows_of()] == [(n, f'{{"n": {n}}}') for n in range(4)]
    found = {which: [row.position for row in rows_of(which=which)] for which in SampleFilter}
    assert (found[SampleFilter.INCORRECT], found[SampleFilter.TRUNCATED], found[SampleFilter.EMPTY]) == (
        [2],
        [2],
        [0],
    )


def test_scoring_is_a_phase_that_engines_do_not_change(one: Try) -> None:
    with one.evaluating(ScoringBegun()):
        until(lambda: one.job.phase == Phase.SCORING)
        one.child.says(TellFacts())
        one.child.hears(FactsTold)
        assert one.job.phase == Phase.SCORING


def test_what_an_engine_said_of_itself_is_told(one: Try, engine: Engine) -> None:
    one.world.serving.loaded(engine.lease, {"dtype": "float32"})
    with one.evaluating(TellFacts()):
        assert one.child.hears(FactsTold).facts is None
        engine.answers("a")
        one.child.hears(Responses)
        one.child.says(TellFacts())
        assert one.child.hears(FactsTold).facts == {"dtype": "float32"}


def test_results_end_the_job_with_its_log(one: Try) -> None:
    one.attempt.log.path.write_text("scored\nin time")

    assert one.ends(PREPARED, *DONE) == Ended()
    assert one.job.status is JobStatus.SUCCEEDED
    assert one.world.results.document(one.lease.id)["results"] == {}
    pieces = one.world.results.last_logs(one.lease.id, 9).pieces
    assert "".join(piece.text for piece in pieces) == "scored\nin time"


def test_a_job_that_fails_shows_the_end_of_its_log(one: Try) -> None:
    one.attempt.log.path.write_text("loading\nno such model\n")

    assert (
        one.ends(JobFailed(FailureTold("model_not_found", "no such model", hint="name another"))) == Ended()
    )
    assert one.job.status is JobStatus.FAILED
    assert one.job.error == Failure(
        FailureCode.MODEL_NOT_FOUND,
        "no such model",
        hint="name another",
        log_tail=("loading", "no such model"),
    )


def test_the_phase_follows_the_engines(one: Try, engine: Engine) -> None:
    with one.evaluating():
        until(lambda: one.job.phase == Phase.LOADING)
        one.world.serving.loaded(engine.lease, {})
        until(lambda: one.job.phase == Phase.EVALUATING)
        engine.takes()
        until(lambda: one.job.reason == "evaluating on 1 replica")


def test_a_job_whose_engine_answers_other_jobs_first_says_so(world: World) -> None:
    device = world.devices(1)[0]
    first, second = world.running(chunks=1), world.running(chunks=1)
    replica = world.replica(device)
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, Room(1e9, 1))

    reasons = [
        where(world.coordination.engines(job), job)
        for job in (world.jobs.view(lease.id).job for lease in (first, second))
    ]
    assert reasons == [
        (Phase.EVALUATING, "evaluating on 1 replica"),
        (Phase.EVALUATING, "waiting for its turn on 1 replica in group a shared with other jobs"),
    ]
