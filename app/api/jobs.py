"""Jobs over HTTP: list, read, change, stop, go on, delete."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import PlainTextResponse

from app.api.problems import problems
from app.api.rendering import answer, job_answer, job_out
from app.api.request_body import BODY_PROBLEMS, JsonObject, request_body
from app.api.schemas.job import JobOut
from app.api.schemas.submission import JobPatch
from app.api.schemas.summary import SummaryPage
from app.api.summaries import FIELDS, summary
from app.api.tables import jobs_csv, json_lines
from app.api.text import job_text
from app.domain.job_filter import JobPart
from app.domain.keys import Role
from app.domain.priorities import priority_faults
from app.errors import (
    FaultyField,
    IllegalMoveError,
    InvalidRequestError,
    QuotaExceededError,
    StaleJobError,
    UnknownJobError,
)
from app.posting.shape import shape_faults
from app.web import cursors
from app.web.deps import (
    CallerDep,
    Cursor,
    JobId,
    Services,
    ServicesDep,
    known_parameters,
    page_size,
)
from app.web.links import page_links
from app.web.offers import chosen, kinds
from app.web.preference import preferred
from app.web.wanted import WantedDep, newest_before
from app.workloads.lm_eval.reading.safety import change_faults

Fields = Annotated[
    str | None,
    Query(
        max_length=1000,
        description=f"Names by commas: {', '.join(JobPart)}, which are not there else, or others, to have them whole.",
    ),
]
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_parameters)])

JSON_LINES, CSV = "application/jsonl", "text/csv"
CHANGE_PROBLEMS = (UnknownJobError, IllegalMoveError, StaleJobError)


def _asked(fields: str | None) -> frozenset[str]:
    """Names of fields; InvalidRequestError for those that no summary has."""
    asked = frozenset(name.strip() for name in (fields or "").split(",") if name.strip())
    if unknown := sorted(asked.difference(FIELDS)):
        message = f"there is no field {', '.join(unknown)} in a list"
        raise InvalidRequestError([FaultyField("query.fields", message, FIELDS)])
    return asked


_WRITTEN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    JSON_LINES: lambda page: json_lines(page["data"]),
    CSV: lambda page: jobs_csv(page["data"]),
}


@router.get(
    "",
    summary="List jobs",
    response_model=SummaryPage,
    responses=problems()
    | kinds("Jobs, newest first; beside JSON the next page is told by `Link`.", JSON_LINES, CSV),
)
def list_jobs(
    services: ServicesDep,
    wanted: WantedDep,
    request: Request,
    *,
    fields: Fields = None,
    limit: page_size(50, 500) = 50,  # type: ignore[valid-type]
    cursor: Cursor = None,
) -> Response:
    """Summaries, newest first; with `fields=spec` and the like fewer than `limit` where they are large."""
    asked = _asked(fields)
    before = cursors.decoded(cursor, newest_before)
    page = services.jobs.page(wanted, limit, before, [part for part in JobPart if part in asked])
    last = page.views[-1].job if page.more else None
    cursor = cursors.encoded(last.created_at.isoformat(), str(last.id)) if last else None
    body = {"data": [summary(view, asked) for view in page.views], "next_cursor": cursor}
    kind = chosen(request, "application/json", JSON_LINES, CSV)
    text = (
        _WRITTEN[kind](body)
        if kind in _WRITTEN
        else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    )
    return Response(text, headers=page_links(request, cursor), media_type=kind)


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
async def change_job(job_id: JobId, body: JsonObject, services: ServicesDep, caller: CallerDep) -> Response:
    """What is absent stays as it is."""
    return await services.turns.take(
        body.size_bytes, partial(_changed, services, job_id, body.fields, caller.role)
    )


def _changed(services: Services, job_id: UUID, fields: Mapping[str, Any], role: Role) -> Response:
    beyond = priority_faults(fields.get("priority"), role, services.settings.priority_bounds)
    if faults := shape_faults(JobPatch, fields) or [*change_faults(fields), *beyond]:
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
