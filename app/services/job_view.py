"""A job as people see it: what is computed for them is computed here, so that a page and a body cannot differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.event import Event
from app.domain.forecast import Forecast
from app.domain.job import Job, JobStatus, Phase
from app.domain.replica import Replica
from app.domain.waits import Wait, reason
from app.workloads.lm_eval.spec import LmEvalSpec

STALL = timedelta(minutes=30)
"""What is silent for longer has stalled, where no setting says otherwise."""
PARTS = ("events", "results", "samples", "artifacts", "logs")


@dataclass(frozen=True)
class JobProgress:
    """How far a job is, counted in requests; rates are known while it evaluates."""

    done: int
    total: int | None
    percent: float | None
    reused: int
    requests_per_second: float | None
    tokens_per_second: float | None
    eta_seconds: float | None
    stalled_seconds: float
    stalled: bool = False
    """For so long that supervisors end what is so silent."""


@dataclass(frozen=True)
class JobView:
    """A job with what people want to see beside it."""

    job: Job
    spec: LmEvalSpec
    progress: JobProgress
    replicas: Sequence[Replica] = ()
    """Left out of lists."""
    wait: Wait | None = None
    """What it waits for; None where it goes on or is over."""
    estimate: Forecast | None = None
    """When it begins and ends; None where nothing is known."""

    @property
    def reason(self) -> str | None:
        """In words, why it is where it is."""
        return reason(self.job, self.wait)

    @property
    def links(self) -> dict[str, str]:
        """Absolute paths of the job and of what belongs to it."""
        here = job_path(self.job)
        return {"self": here} | {part: f"{here}/{part}" for part in PARTS}


@dataclass(frozen=True)
class JobViews:
    """A page of a list."""

    views: Sequence[JobView]
    more: bool
    """There are jobs behind the last one."""


@dataclass(frozen=True)
class Glance:
    """Why a job is where it is, as it is reckoned now and then for all that are watched."""

    reason: str | None
    written: str | None
    """What its events told: a reason that nothing else has overtaken."""
    over: bool


@dataclass(frozen=True)
class News:
    """What happened to a job after a number."""

    events: Sequence[Event]
    ended: bool
    """The job is over and these are its last events."""
    look: Glance | None = None
    """The last one, where nothing happened."""


def job_path(job: Job) -> str:
    """Where the job is found."""
    return f"/v1/jobs/{job.id}"


def view_of(
    job: Job,
    rates: Mapping[str, float | None],
    now: datetime,
    replicas: Sequence[Replica] = (),
    *,
    wait: Wait | None = None,
    estimate: Forecast | None = None,
    stall: timedelta = STALL,
) -> JobView:
    """The job as it is shown at this moment; `rates` are those that its coordinator measured last."""
    progress = progress_of(job, rates, now, stall)
    return JobView(job, LmEvalSpec.from_json(job.spec), progress, replicas, wait, estimate)


def progress_of(
    job: Job, rates: Mapping[str, float | None], now: datetime, stall: timedelta = STALL
) -> JobProgress:
    """How far it is; what was measured of an evaluation that is over is not shown."""
    evaluating = job.status is JobStatus.RUNNING and job.phase is Phase.EVALUATING
    rates = rates if evaluating else {}
    since = job.progress_at if evaluating else None
    quiet = max(now - since, timedelta()) if since else timedelta()
    return JobProgress(
        done=job.requests_done,
        total=job.requests_total,
        percent=percent(job),
        reused=job.requests_reused,
        requests_per_second=rates.get("requests_per_second"),
        tokens_per_second=rates.get("tokens_per_second"),
        eta_seconds=rates.get("eta_seconds"),
        stalled_seconds=round(quiet.total_seconds(), 1),
        stalled=quiet > stall,
    )


def percent(job: Job) -> float | None:
    """Share of requests that are answered; None until all prompts are built."""
    if job.requests_total is None:
        return None
    return round(100.0 * job.requests_done / job.requests_total, 1) if job.requests_total else 100.0
