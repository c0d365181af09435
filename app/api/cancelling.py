"""Cancelling many jobs over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from app.api.problems import problems
from app.api.rendering import answer
from app.api.request_body import BODY_PROBLEMS, Body, json_object, request_body
from app.api.schemas.cancelling import MOST_CANCELLED, CancelIn, CancelledList, CancelledOut
from app.domain.job_filter import JobFilter
from app.errors import FaultyField, InvalidRequestError
from app.posting.shape import shape_faults
from app.services.cancelling import cancel_each
from app.web.deps import Services, ServicesDep, known_parameters
from app.web.wanted import WantedDep

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_parameters)])


def _nothing_blank(request: Request) -> None:
    """In the URL of a list `?tag=` is no filter; here it would choose more than was meant."""
    blank = [name for name, value in request.query_params.multi_items() if not value.strip()]
    if blank:
        raise InvalidRequestError([FaultyField(name, "say which, or leave it out") for name in blank])


async def _said(request: Request, services: ServicesDep) -> Body:
    """The body, or an empty one where none was sent: then the filters stand in the URL."""
    headers = request.headers
    empty = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
    return Body({}, 0) if empty else await json_object(request, services)


@router.post(
    "/cancel",
    summary="Cancel many jobs",
    openapi_extra=request_body(CancelIn, required=False),
    response_model=CancelledList,
    responses=problems(*BODY_PROBLEMS),
    dependencies=[Depends(_nothing_blank)],
)
async def cancel_jobs(
    services: ServicesDep,
    wanted: WantedDep,
    body: Body = Depends(_said),  # noqa: B008 - how the framework is told
) -> Response:
    """By `ids`, or by the filters of the list, in the body or in the URL: then what has not ended, newest first.

    At most 1000 at once. Each by itself; safe to repeat.
    """
    return await services.turns.take(body.size_bytes, partial(_cancelled, services, wanted, body.fields))


def _cancelled(services: Services, wanted: JobFilter, fields: Mapping[str, Any]) -> Response:
    if faults := shape_faults(CancelIn, fields):
        raise InvalidRequestError(faults)
    said = CancelIn.model_validate(fields)
    ids, more = _meant(services, wanted, said)
    done = cancel_each(services.jobs, ids, wanted.team)
    return answer(CancelledList(data=[CancelledOut.model_validate(each) for each in done], more=more))


def _meant(services: Services, wanted: JobFilter, said: CancelIn) -> tuple[list[str], bool]:
    """Ids of jobs, and whether there are more; InvalidRequestError unless somebody said which, in one way."""
    filters = said.model_dump(exclude={"ids"}, exclude_none=True)
    chosen = replace(wanted, live=True, **filters)
    if (said.ids is None) is not chosen.chooses:
        ways = "say which jobs: either `ids`, or filters of the list"
        raise InvalidRequestError([FaultyField("ids", ways, tuple(CancelIn.model_fields))])
    if said.ids is not None:
        return list(dict.fromkeys(said.ids)), False
    page = services.jobs.page(chosen, MOST_CANCELLED, None)
    return [str(view.job.id) for view in page.views], page.more
