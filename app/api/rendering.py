"""Domain objects as the bodies that clients see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel

from app.api.schemas.job import (
    EstimateOut,
    EventOut,
    FailureOut,
    JobOut,
    LinksOut,
    PlanOut,
    ProgressOut,
    ReplicaOut,
    SerialEventOut,
    TaskOut,
    TaskQualityOut,
)
from app.domain.event import Event, SerialEvent
from app.domain.failure import Failure
from app.domain.forecast import TIMES, Forecast
from app.domain.job import JobTask
from app.domain.plan import Plan
from app.domain.storable import storable
from app.services.job_view import JobView
from app.web.deps import Services

SNAPSHOT = "job.snapshot"


def answer(out: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body as the answer, written here: the framework would write it on the event loop, where all others wait."""
    return Response(out.model_dump_json(), status, headers, "application/json")


def job_answer(
    services: Services, job_id: UUID, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The job as it is now, as the answer."""
    return answer(job_out(services.jobs.view(job_id)), status, headers)


def job_out(view: JobView) -> JobOut:
    """The job as JSON shows it."""
    job = view.job
    return JobOut(
        **{name: getattr(job, name) for name in _COPIED},
        reason=view.reason,
        tags=list(job.tags),
        spec=view.spec.to_json(),
        plan=plan_out(job.plan),
        progress=ProgressOut.model_validate(view.progress),
        estimate=estimate_out(view.estimate),
        tasks=[task_out(task) for task in job.tasks],
        replicas=[
            ReplicaOut.model_validate(
                {name: getattr(replica, name, None) for name in ReplicaOut.model_fields}
                | {"devices": list(replica.devices), "error": failure_out(replica.error)}
            )
            for replica in view.replicas
        ],
        error=failure_out(job.error),
        links=LinksOut.model_validate(view.links),
    )


_COPIED = (
    "id",
    "name",
    "owner",
    "team",
    "status",
    "phase",
    "priority",
    "attempt",
    "trace_id",
    "created_at",
    "started_at",
    "ended_at",
    "deadline_at",
    "cancel_requested_at",
    "pause_requested_at",
    "gpu_seconds",
)


def estimate_out(found: Forecast | None) -> EstimateOut | None:
    """When a job begins and ends, to a tenth of a second."""
    if found is None:
        return None
    times = {name: getattr(found, name) for name in TIMES}
    told = {f"{name}_seconds": at and round(at, 1) for name, at in times.items()}
    return EstimateOut.model_validate(told)


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
        quality=TaskQualityOut.model_validate(task.quality) if task.quality else None,
        error=failure_out(task.error),
    )


def failure_out(failure: Failure | None) -> FailureOut | None:
    """A failure as JSON shows it."""
    return FailureOut.model_validate(failure.to_json()) if failure else None


def event_out(event: Event) -> EventOut:
    """An event as JSON shows it."""
    return EventOut(id=event.id, at=event.at, type=event.type, data=event.data)


def serial_event_out(told: SerialEvent) -> SerialEventOut:
    """An event of one of all jobs as JSON shows it."""
    event = told.event
    return SerialEventOut(
        id=told.serial, job_id=told.job.id, number=event.id, at=event.at, type=event.type, data=event.data
    )


def snapshot(view: JobView) -> EventOut:
    """The job as the first event of a stream; it has no number."""
    data = job_out(view).model_dump(mode="json")
    return EventOut(id=None, at=datetime.now(UTC), type=SNAPSHOT, data=data)
