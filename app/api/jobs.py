"""Jobs over HTTP: list, read, change, stop, go on, delete."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse

from app.api.problems import problems
from app.api.rendering import answer, job_answer, job_out
from app.api.request_body import BODY_PROBLEMS, JsonObject, request_body, shape_faults
from app.api.schemas.job import JobOut, JobPage
from app.api.schemas.submission import JobPatch
from app.api.text import job_text
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.errors import (
    IllegalMoveError,
    InvalidRequestError,
    QuotaExceededError,
    StaleJobError,
    UnknownJobError,
)
from app.web import cursors
from app.web.deps import (
    Blank,
    CallerDep,
    Cursor,
    JobId,
    Services,
    ServicesDep,
    Word,
    known_parameters,
    page_size,
)
from app.web.preference import preferred
from app.workloads.lm_eval.reading.safety import change_faults

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_parameters)])

CHANGE_PROBLEMS = (UnknownJobError, IllegalMoveError, StaleJobError)


def _before(created_at: str, job_id: str) -> tuple[datetime, UUID]:
    return datetime.fromisoformat(created_at), UUID(job_id)


@router.get("", summary="List jobs", response_model=JobPage, responses=problems())
def list_jobs(
    services: ServicesDep,
    caller: CallerDep,
    *,
    status: Annotated[JobStatus | None, Blank, Query()] = None,
    model: Annotated[Word | None, Query(description="Part of the model's name or folder.")] = None,
    task: Annotated[Word | None, Query(description="Jobs that have this lm-eval task.")] = None,
    tag: Word | None = None,
    owner: Word | None = None,
    name: Word | None = None,
    created_after: Annotated[datetime | None, Blank, Query()] = None,
    limit: page_size(50, 500) = 50,  # type: ignore[valid-type]
    cursor: Cursor = None,
) -> Response:
    """Newest first, without replicas."""
    wanted = JobFilter(
        status=status,
        owner=owner,
        team=caller.sees,
        model=model,
        task=task,
        tag=tag,
        name=name,
        created_after=created_after,
    )
    views = services.jobs.page(wanted, limit + 1, cursors.decoded(cursor, _before))
    last = views[limit - 1].job if len(views) > limit else None
    page = JobPage(
        data=[job_out(view) for view in views[:limit]],
        next_cursor=cursors.encoded(last.created_at.isoformat(), str(last.id)) if last else None,
    )
    return answer(page)


@router.get(
    "/{job_id}",
    summary="Read a job",
    response_model=JobOut,
    responses=problems(UnknownJobError)
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The job."}},
)
def read_job(job_id: JobId, services: ServicesDep, request: Request) -> Response:
    """JSON; with `Accept: text/plain` a short table for people."""
    view = services.jobs.view(job_id)
    out = job_out(view)
    if preferred(request.headers.get("accept", ""), "application/json", "text/plain") == "text/plain":
        return PlainTextResponse(job_text(out, view.spec.model_name))
    return answer(out)


@router.patch(
    "/{job_id}",
    summary="Change name, priority or tags",
    openapi_extra=request_body(JobPatch),
    response_model=JobOut,
    responses=problems(*BODY_PROBLEMS, UnknownJobError, StaleJobError),
)
async def change_job(job_id: JobId, body: JsonObject, services: ServicesDep) -> Response:
    """What is absent stays as it is."""
    return await services.turns.take(body.size_bytes, partial(_changed, services, job_id, body.fields))


def _changed(services: Services, job_id: UUID, fields: Mapping[str, Any]) -> Response:
    if faults := shape_faults(JobPatch, fields) or change_faults(fields):
        raise InvalidRequestError(faults)
    services.jobs.change(job_id, **fields)
    return job_answer(services, job_id)


@router.post(
    "/{job_id}/cancel", summary="Cancel a job", response_model=JobOut, responses=problems(*CHANGE_PROBLEMS)
)
def cancel_job(job_id: JobId, services: ServicesDep) -> Response:
    """A waiting job ends now; a running one stops within seconds. Safe to repeat."""
    services.jobs.cancel(job_id)
    return job_answer(services, job_id)


@router.post(
    "/{job_id}/pause", summary="Pause a job", response_model=JobOut, responses=problems(*CHANGE_PROBLEMS)
)
def pause_job(job_id: JobId, services: ServicesDep) -> Response:
    """Hold the job with every answer it has. Safe to repeat."""
    services.jobs.pause(job_id)
    return job_answer(services, job_id)


@router.post(
    "/{job_id}/resume",
    summary="Resume a paused job",
    response_model=JobOut,
    responses=problems(*CHANGE_PROBLEMS),
)
def resume_job(job_id: JobId, services: ServicesDep) -> Response:
    """Let the job wait for its turn again. Safe to repeat."""
    services.jobs.resume(job_id)
    return job_answer(services, job_id)


@router.post(
    "/{job_id}/retry",
    summary="Go on with an ended job",
    response_model=JobOut,
    responses=problems(*CHANGE_PROBLEMS, QuotaExceededError),
)
def retry_job(job_id: JobId, services: ServicesDep) -> Response:
    """A failed, partially failed or cancelled job goes on, keeping every answer it has."""
    services.jobs.retry(job_id)
    return job_answer(services, job_id)


@router.delete(
    "/{job_id}", status_code=204, summary="Delete an ended job", responses=problems(*CHANGE_PROBLEMS)
)
def delete_job(job_id: JobId, services: ServicesDep) -> None:
    """Forget the job and all that belongs to it; stored answers stay for other jobs."""
    services.jobs.delete(job_id)
