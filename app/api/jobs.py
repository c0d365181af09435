"""Jobs over HTTP: submit, list, read, change, stop, go on, delete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import anyio
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from app.api.problems import fault_out, problems
from app.api.rendering import answer, job_out, plan_out
from app.api.request_body import JsonObject, request_body, root, shape_faults
from app.api.schemas.job import JobOut, JobPage
from app.api.schemas.submission import DryRunOut, JobIn, JobPatch
from app.api.text import job_text
from app.domain.job import Job, JobStatus
from app.domain.job_filter import JobFilter
from app.domain.keys import Caller
from app.errors import (
    BusyError,
    IdempotencyConflictError,
    IdempotencyInFlightError,
    IllegalMoveError,
    InvalidJobError,
    InvalidRequestError,
    QuotaExceededError,
    StaleJobError,
    TooManyRequestsError,
    UnknownJobError,
)
from app.services.job_view import job_path
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
from app.web.problems import (
    MalformedJsonError,
    NotJsonError,
    TooLargeError,
    TooSlowError,
    shown,
)
from app.workloads.lm_eval.reading.read import Submission
from app.workloads.lm_eval.reading.safety import change_faults

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_parameters)])

MOST_WAIT_SECONDS = 60
BODY_PROBLEMS = (MalformedJsonError, NotJsonError, TooLargeError, TooSlowError, BusyError)
CHANGE_PROBLEMS = (UnknownJobError, IllegalMoveError, StaleJobError)

Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern="^[ -~]*$",
        description="Printable ASCII. Post again with the same key to get the first job.",
    ),
]


@router.post(
    "",
    status_code=202,
    response_model=JobOut,
    summary="Submit a job",
    response_description="The job, queued; with `Prefer: wait=N` as it is when it ends or after N seconds.",
    openapi_extra=request_body(JobIn),
    responses=problems(
        *BODY_PROBLEMS,
        InvalidJobError,
        IdempotencyConflictError,
        IdempotencyInFlightError,
        QuotaExceededError,
    )
    | {
        200: {"model": JobOut | DryRunOut, "description": "The job first posted with this key; or a dry run."}
    },
)
async def submit_job(
    body: JsonObject,
    services: ServicesDep,
    caller: CallerDep,
    request: Request,
    *,
    dry_run: Annotated[bool, Query(description="Validate and plan, store nothing.")] = False,
    idempotency_key: Key = None,
    prefer: Annotated[str | None, Header(description="`wait=N`, at most 60 seconds.")] = None,
) -> Response:
    """lm-eval's own names; every fault comes at once, and nothing is queued that cannot run."""
    if dry_run:
        return await services.turns.take(body.size_bytes, partial(dry_run_out, services, body.fields))
    store = partial(_stored, services, body.fields, caller, idempotency_key)
    job, created = await services.turns.take(body.size_bytes, store)
    headers = {"Location": job_path(job)}
    wait = _wait_seconds(prefer)
    if wait and await _ended(services, request, job.id, wait):
        headers["Preference-Applied"] = f"wait={wait}"
    return await run_in_threadpool(_shown, services, job.id, 202 if created else 200, headers)


def _shown(
    services: Services, job_id: UUID, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return answer(job_out(services.jobs.view(job_id)), status, headers)


def _stored(
    services: Services, fields: Mapping[str, Any], caller: Caller, idempotency_key: str | None
) -> tuple[Job, bool]:
    def check() -> Submission:
        return checked(services, fields)

    if idempotency_key is None:
        return services.jobs.submit(check(), caller.name, team=caller.team)
    body_hash = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return services.jobs.submit_once(check, caller.name, idempotency_key, body_hash, caller.team)


def checked(services: Services, fields: Mapping[str, Any]) -> Submission:
    """A job that can run, or InvalidJobError with the faults of shape and of meaning together."""
    faults = shape_faults(JobIn, fields)
    misshapen = {root(fault) for fault in faults}
    try:
        submission = services.submissions.check({k: v for k, v in fields.items() if k not in misshapen})
    except InvalidJobError as error:
        meant = [fault for fault in error.named if root(fault) not in misshapen]
        raise InvalidJobError([*faults, *meant], error.more) from None
    if faults:
        raise InvalidJobError(faults)
    return submission


def dry_run_out(services: Services, fields: Mapping[str, Any]) -> Response:
    """What would become of the job; its faults are the answer, not an error."""
    try:
        submission = checked(services, fields)
    except InvalidJobError as error:
        faults = [fault_out(shown(fault)) for fault in error.faults]
        out = DryRunOut(valid=False, plan=None, errors=faults, tasks=[], notes=[])
    else:
        out = DryRunOut(
            valid=True,
            plan=plan_out(submission.plan),
            errors=[],
            tasks=list(submission.tasks),
            notes=list(submission.notes),
        )
    return answer(out)


def _wait_seconds(prefer: str | None) -> int:
    """N of `Prefer: wait=N`, at most a minute; a preference that is not understood is ignored (RFC 7240)."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return min(int(value[:9]), MOST_WAIT_SECONDS)
    return 0


async def _ended(services: Services, request: Request, job_id: UUID, seconds: int) -> bool:
    """Return when the job is terminal, or after so many seconds; False where no place to wait is left."""
    try:
        with services.streams.place(request.state.key_id), anyio.move_on_after(seconds):
            async with aclosing(services.wakeups.follow(job_id, 0, seconds)) as stream:
                async for _ in stream:
                    pass
    except TooManyRequestsError:
        return False
    return True


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
    out = job_out(services.jobs.view(job_id))
    if preferred(request.headers.get("accept", ""), "application/json", "text/plain") == "text/plain":
        return PlainTextResponse(job_text(out))
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
    return _shown(services, job_id)


@router.post(
    "/{job_id}/cancel", summary="Cancel a job", response_model=JobOut, responses=problems(*CHANGE_PROBLEMS)
)
def cancel_job(job_id: JobId, services: ServicesDep) -> Response:
    """A waiting job ends now; a running one stops within seconds. Safe to repeat."""
    services.jobs.cancel(job_id)
    return _shown(services, job_id)


@router.post(
    "/{job_id}/pause", summary="Pause a job", response_model=JobOut, responses=problems(*CHANGE_PROBLEMS)
)
def pause_job(job_id: JobId, services: ServicesDep) -> Response:
    """Hold the job with every answer it has. Safe to repeat."""
    services.jobs.pause(job_id)
    return _shown(services, job_id)


@router.post(
    "/{job_id}/resume",
    summary="Resume a paused job",
    response_model=JobOut,
    responses=problems(*CHANGE_PROBLEMS),
)
def resume_job(job_id: JobId, services: ServicesDep) -> Response:
    """Let the job wait for its turn again. Safe to repeat."""
    services.jobs.resume(job_id)
    return _shown(services, job_id)


@router.post(
    "/{job_id}/retry",
    summary="Go on with an ended job",
    response_model=JobOut,
    responses=problems(*CHANGE_PROBLEMS, QuotaExceededError),
)
def retry_job(job_id: JobId, services: ServicesDep) -> Response:
    """A failed, partially failed or cancelled job goes on, keeping every answer it has."""
    services.jobs.retry(job_id)
    return _shown(services, job_id)


@router.delete(
    "/{job_id}", status_code=204, summary="Delete an ended job", responses=problems(*CHANGE_PROBLEMS)
)
def delete_job(job_id: JobId, services: ServicesDep) -> None:
    """Forget the job and all that belongs to it; stored answers stay for other jobs."""
    services.jobs.delete(job_id)
