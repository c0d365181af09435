"""Submitting jobs over HTTP: checked whole, stored once, waited for if wished."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import anyio
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.problems import fault_out, problems
from app.api.rendering import answer, job_answer, job_out, plan_out
from app.api.request_body import BODY_PROBLEMS, JobObject, request_body
from app.api.schemas.job import JobOut
from app.api.schemas.submission import DryRunOut
from app.domain.job import Job
from app.domain.keys import Caller, Role
from app.errors import (
    IdempotencyConflictError,
    IdempotencyInFlightError,
    InvalidJobError,
    QuotaExceededError,
    TooManyRequestsError,
)
from app.posting.job_body import JobIn
from app.posting.submitting import checked, stored
from app.services.job_view import job_path
from app.web.deps import (
    CallerDep,
    Services,
    ServicesDep,
    known_parameters,
)
from app.web.problems import (
    shown,
    shown_plan,
)

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_parameters)])

MOST_WAIT_SECONDS = 60

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
    body: JobObject,
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
        return await services.turns.take(
            body.size_bytes, partial(dry_run_out, services, body.fields, caller.role)
        )
    store = partial(_stored, services, body.fields, caller, idempotency_key)
    job, told = await services.turns.take(body.size_bytes, store)
    wait = _wait_seconds(prefer)
    if not wait:
        return told
    headers = {"Location": job_path(job)}
    if await _ended(services, request, job.id, wait):
        headers["Preference-Applied"] = f"wait={wait}"
    return await run_in_threadpool(job_answer, services, job.id, told.status_code, headers)


def _stored(
    services: Services, fields: Mapping[str, Any], caller: Caller, idempotency_key: str | None
) -> tuple[Job, Response]:
    """The job and the answer; a new one is shown as it was stored, and not read again."""
    job, created = stored(services, fields, caller, idempotency_key)
    view = services.jobs.view_of_new(job) if created else services.jobs.view(job.id)
    return job, answer(job_out(view), 202 if created else 200, {"Location": job_path(job)})


def dry_run_out(services: Services, fields: Mapping[str, Any], role: Role) -> Response:
    """What would become of the job; its faults are the answer, and what it would wait for is among them."""
    try:
        submission = checked(services, fields, role)
    except InvalidJobError as error:
        faults = [fault_out(shown(fault)) for fault in error.faults]
        plan = shown_plan(error)
        out = DryRunOut(valid=False, plan=plan and plan_out(plan), errors=faults, tasks=[], notes=[])
    else:
        out = DryRunOut(
            valid=True,
            plan=plan_out(submission.plan),
            errors=[fault_out(shown(fault)) for fault in submission.lacking],
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
            async with aclosing(services.followers.follow(job_id, 0, seconds)) as stream:
                async for _ in stream:
                    pass
    except TooManyRequestsError:
        return False
    return True
