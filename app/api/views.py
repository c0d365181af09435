"""Domain objects as the bodies that clients see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from app.api.schemas.job import (
    EventOut,
    FailureOut,
    JobOut,
    LinksOut,
    PlanOut,
    ProgressOut,
    ReplicaOut,
    TaskOut,
)
from app.domain.event import Event
from app.domain.failure import Failure
from app.domain.job import Job, JobStatus, JobTask, Phase
from app.domain.plan import Plan
from app.domain.storable import storable
from app.services.jobs import JobView
from app.workloads.lm_eval.spec import LmEvalSpec

SNAPSHOT = "job.snapshot"


def answer(out: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body as the answer, written here: the framework would write it on the event loop, where all others wait."""
    return Response(out.model_dump_json(), status, headers, "application/json")


def job_path(job: Job) -> str:
    """Where the job is found."""
    return f"/v1/jobs/{job.id}"


def job_out(view: JobView) -> JobOut:
    """The job as JSON shows it."""
    job = view.job
    return JobOut(
        **{name: getattr(job, name) for name in _COPIED},
        tags=list(job.tags),
        spec=LmEvalSpec.from_json(job.spec).to_json(),
        plan=plan_out(job.plan),
        progress=progress(job, view.rates),
        tasks=[task_out(task) for task in job.tasks],
        replicas=[
            ReplicaOut.model_validate(
                {name: getattr(replica, name, None) for name in ReplicaOut.model_fields}
                | {"devices": list(replica.devices), "error": failure_out(replica.error)}
            )
            for replica in view.replicas
        ],
        error=failure_out(job.error),
        links=links(job),
    )


_COPIED = (
    "id",
    "name",
    "owner",
    "team",
    "status",
    "phase",
    "reason",
    "priority",
    "attempt",
    "created_at",
    "started_at",
    "ended_at",
    "deadline_at",
    "cancel_requested_at",
    "pause_requested_at",
    "gpu_seconds",
)


def plan_out(plan: Plan) -> PlanOut:
    """The plan as JSON shows it."""
    return PlanOut.model_validate(plan.to_json())


def task_out(task: JobTask) -> TaskOut:
    """A task as JSON shows it."""
    metrics = storable(task.metrics) if task.metrics is not None else None
    return TaskOut(
        name=task.name,
        status=task.status,
        done=task.done,
        total=task.total,
        metrics=metrics,
        error=failure_out(task.error),
    )


def failure_out(failure: Failure | None) -> FailureOut | None:
    """A failure as JSON shows it."""
    return FailureOut.model_validate(failure.to_json()) if failure else None


def progress(job: Job, rates: dict[str, Any]) -> ProgressOut:
    """How far the job is; rates are shown while it evaluates."""
    evaluating = job.status is JobStatus.RUNNING and job.phase is Phase.EVALUATING
    rates = rates if evaluating else {}
    since = job.progress_at if evaluating else None
    return ProgressOut(
        done=job.requests_done,
        total=job.requests_total,
        percent=percent(job),
        reused=job.requests_reused,
        requests_per_second=rates.get("requests_per_second"),
        tokens_per_second=rates.get("tokens_per_second"),
        eta_seconds=rates.get("eta_seconds"),
        stalled_seconds=round(max((datetime.now(UTC) - since).total_seconds(), 0.0), 1) if since else 0.0,
    )


def percent(job: Job) -> float | None:
    """Share of requests that are answered; None until all prompts are built."""
    if job.requests_total is None:
        return None
    return round(100.0 * job.requests_done / job.requests_total, 1) if job.requests_total else 100.0


def links(job: Job) -> LinksOut:
    """Absolute paths of what belongs to the job."""
    here = job_path(job)
    parts = ("events", "results", "samples", "artifacts", "logs")
    return LinksOut(self=here, **{part: f"{here}/{part}" for part in parts})


def event_out(event: Event) -> EventOut:
    """An event as JSON shows it."""
    return EventOut(id=event.id, at=event.at, type=event.type, data=event.data)


def snapshot(view: JobView) -> EventOut:
    """The job as the first event of a stream; it has no number."""
    data = job_out(view).model_dump(mode="json")
    return EventOut(id=None, at=datetime.now(UTC), type=SNAPSHOT, data=data)
