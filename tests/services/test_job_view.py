"""What people see of a job is computed once, for pages and bodies alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.ids import uuid7
from app.domain.job import Job, JobStatus, Phase
from app.services.job_view import job_path, percent, progress_of, view_of
from tests.jobs import submission

NOW = datetime(2026, 11, 27, tzinfo=UTC)
RATES = {"requests_per_second": 2.5, "tokens_per_second": 80.0, "eta_seconds": 12.0}


@pytest.fixture
def job() -> Job:
    """One that evaluates; nothing was answered for a while."""
    made = submission()
    return Job(
        id=uuid7(),
        owner="alice",
        team="red",
        name=None,
        spec=made.spec.to_json(),
        engine=made.engine,
        plan=made.plan,
        created_at=NOW,
        status=JobStatus.RUNNING,
        phase=Phase.EVALUATING,
        requests_total=300,
        requests_done=100,
        requests_reused=7,
        progress_at=NOW - timedelta(seconds=90.04),
    )


def test_an_evaluating_job_shows_how_far_and_how_fast_it_is(job: Job) -> None:
    shown = progress_of(job, RATES, NOW)
    assert (shown.done, shown.total, shown.percent, shown.reused) == (100, 300, 33.3, 7)
    assert (shown.requests_per_second, shown.tokens_per_second, shown.eta_seconds) == (2.5, 80.0, 12.0)
    assert shown.stalled_seconds == 90.0


def test_a_clock_that_is_behind_makes_no_stall_of_less_than_nothing(job: Job) -> None:
    assert progress_of(job, RATES, NOW - timedelta(hours=1)).stalled_seconds == 0.0


@pytest.mark.parametrize(
    "elsewhere", [{"phase": Phase.SCORING}, {"status": JobStatus.SUCCEEDED, "phase": None}]
)
def test_what_was_measured_of_an_evaluation_that_is_over_is_not_shown(
    job: Job, elsewhere: dict[str, object]
) -> None:
    shown = progress_of(replace(job, **elsewhere), RATES, NOW)  # type: ignore[arg-type]
    assert (shown.requests_per_second, shown.tokens_per_second, shown.eta_seconds) == (None, None, None)
    assert shown.stalled_seconds == 0.0
    assert shown.done == 100


@pytest.mark.parametrize(
    ("done", "total", "shown"), [(0, None, None), (0, 0, 100.0), (1, 3, 33.3), (3, 3, 100.0)]
)
def test_percent_is_unknown_until_all_prompts_are_built(
    job: Job, done: int, total: int | None, shown: float | None
) -> None:
    assert percent(replace(job, requests_done=done, requests_total=total)) == shown


def test_a_view_opens_the_spec_and_names_where_everything_is(job: Job) -> None:
    view = view_of(job, {}, NOW)
    assert view.spec.tasks == ("toy",)
    assert view.replicas == ()
    assert view.links["self"] == job_path(job) == f"/v1/jobs/{job.id}"
    assert {link.removeprefix(f"{job_path(job)}/") for link in view.links.values()} == {
        *("events", "results", "samples", "artifacts", "logs", job_path(job)),
    }
