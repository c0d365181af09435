"""A job moves as its table says, and in no other way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.ids import uuid7
from app.domain.job import (
    MOVES,
    RETRYABLE,
    TERMINAL,
    Job,
    JobStatus,
    JobTask,
    Phase,
    TaskStatus,
    deadline,
    left_over,
    outcome,
)
from app.domain.plan import Plan
from app.errors import IllegalMoveError
from tests.jobs import submission

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def job(status: JobStatus) -> Job:
    checked = submission()
    return Job(
        id=uuid7(),
        owner="alice",
        name=None,
        spec=checked.spec.to_json(),
        engine=checked.engine,
        plan=checked.plan,
        created_at=NOW,
        status=status,
        phase=Phase.EVALUATING if status is JobStatus.RUNNING else None,
        ended_at=NOW if status.terminal else None,
    )


@pytest.mark.parametrize(("old", "new"), list(product(JobStatus, JobStatus)))
def test_a_move_is_legal_exactly_when_the_table_has_it(old: JobStatus, new: JobStatus) -> None:
    if new not in MOVES[old]:
        with pytest.raises(IllegalMoveError, match=old):
            job(old).moved_to(new, NOW)
        return
    moved = job(old).moved_to(new, NOW)
    assert (moved.status, moved.phase) == (new, None)
    assert (moved.ended_at == NOW) is new.terminal


def test_a_terminal_job_moves_nowhere_by_itself() -> None:
    assert {status for status in JobStatus if not MOVES[status]} == TERMINAL


def cancelled(job: Job) -> Job:
    return job.cancelled(NOW)


def paused(job: Job) -> Job:
    return job.paused(NOW)


def resumed(job: Job) -> Job:
    return job.resumed(NOW)


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (cancelled, JobStatus.QUEUED, JobStatus.CANCELLED),
        (cancelled, JobStatus.PAUSED, JobStatus.CANCELLED),
        (cancelled, JobStatus.RUNNING, JobStatus.RUNNING),
        (cancelled, JobStatus.CANCELLED, JobStatus.CANCELLED),
        (paused, JobStatus.QUEUED, JobStatus.PAUSED),
        (paused, JobStatus.RUNNING, JobStatus.RUNNING),
        (paused, JobStatus.PAUSED, JobStatus.PAUSED),
        (resumed, JobStatus.PAUSED, JobStatus.QUEUED),
        (resumed, JobStatus.QUEUED, JobStatus.QUEUED),
        (resumed, JobStatus.RUNNING, JobStatus.RUNNING),
    ],
)
def test_what_users_ask_for_is_safe_to_repeat(
    change: Callable[[Job], Job], old: JobStatus, new: JobStatus
) -> None:
    once = change(job(old))
    assert once.status is new
    assert change(once) == once


@pytest.mark.parametrize("change", [cancelled, paused, resumed])
def test_a_job_that_has_ended_is_left_alone(change: Callable[[Job], Job]) -> None:
    for status in TERMINAL:
        if (change, status) != (cancelled, JobStatus.CANCELLED):
            with pytest.raises(IllegalMoveError):
                change(job(status))


def test_a_running_job_is_asked_to_stop() -> None:
    assert cancelled(job(JobStatus.RUNNING)).cancel_requested_at == NOW
    assert paused(job(JobStatus.RUNNING)).pause_requested_at == NOW
    assert resumed(paused(job(JobStatus.RUNNING))).pause_requested_at is None


@pytest.mark.parametrize("status", list(JobStatus))
def test_only_what_failed_or_was_cancelled_is_retried(status: JobStatus) -> None:
    old = replace(job(status), cancel_requested_at=NOW, tasks=(JobTask("a", TaskStatus.FAILED),))
    if status not in RETRYABLE:
        with pytest.raises(IllegalMoveError):
            old.retried(NOW)
        return
    retried = old.retried(NOW)
    assert (retried.status, retried.ended_at, retried.cancel_requested_at) == (JobStatus.QUEUED, None, None)
    assert [task.status for task in retried.tasks] == [TaskStatus.WAITING]


@pytest.mark.parametrize(
    ("failed", "scored", "status"),
    [
        (0, 2, JobStatus.SUCCEEDED),
        (1, 1, JobStatus.PARTIALLY_FAILED),
        (2, 0, JobStatus.FAILED),
    ],
)
def test_a_job_ends_as_its_tasks_did(failed: int, scored: int, status: JobStatus) -> None:
    tasks = [JobTask("t", TaskStatus.FAILED)] * failed + [JobTask("t", TaskStatus.SUCCEEDED)] * scored
    assert outcome(tuple(tasks)) is status


@pytest.mark.parametrize("beside", [TaskStatus.SUCCEEDED, TaskStatus.PARTIALLY_FAILED, TaskStatus.FAILED])
def test_a_job_with_a_task_that_lacks_documents_has_partially_failed(beside: TaskStatus) -> None:
    tasks = (JobTask("a", TaskStatus.PARTIALLY_FAILED), JobTask("b", beside))
    assert outcome(tasks) is JobStatus.PARTIALLY_FAILED


def test_what_was_not_done_when_a_job_ended_is_over_for_its_reason() -> None:
    late = Failure(
        FailureCode.DEADLINE_EXCEEDED, "too late", task="toy", hint="retry it", log_tail=("a line",)
    )
    left = left_over(JobStatus.FAILED, late)
    assert (left.code, left.message, left.hint) == (late.code, "too late", "retry it")
    assert (left.task, left.log_tail) == (None, ()), "those are of the task that failed"
    assert left_over(JobStatus.CANCELLED).code is FailureCode.CANCELLED
    assert left_over(JobStatus.FAILED).code is FailureCode.INTERNAL


def test_a_deadline_counts_from_the_posting() -> None:
    assert deadline(NOW, 60) == NOW + timedelta(minutes=1)
    assert deadline(NOW, None) is None


@pytest.mark.parametrize("replicas", [None, 2])
def test_a_plan_and_an_engine_are_read_as_they_were_stored(replicas: int | None) -> None:
    asked = job(JobStatus.QUEUED)
    plan = replace(asked.plan, replicas=replicas, group="b")
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert EngineSpec.from_json(json.loads(json.dumps(asked.engine.to_json()))) == asked.engine
    assert replace(asked, plan=plan).group == "b"
