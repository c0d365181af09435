"""A job's logs over HTTP, as text for a terminal: what is there, or followed until the job ends."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from app.api.problems import problems
from app.domain.output import MergedLog
from app.domain.visible import visible
from app.errors import BusyError, DatabaseError, TooManyStreamsError, UnknownJobError
from app.services.results import LogPage
from app.web.deps import Blank, JobId, Services, ServicesDep, known_parameters
from app.web.streams import AS_IT_COMES, Admission, Stream

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"], dependencies=[Depends(known_parameters)])

FOLLOW_SECONDS = 0.5
"""How often a followed log is looked at."""
MOST_LINES = 10_000
Lines = Annotated[int, Field(ge=0, le=MOST_LINES)]

log = logging.getLogger(__name__)


@router.get(
    "/logs",
    summary="Read the job's logs",
    response_class=PlainTextResponse,
    responses=problems(UnknownJobError, TooManyStreamsError, BusyError),
)
async def read_logs(
    job_id: JobId,
    services: ServicesDep,
    request: Request,
    *,
    tail: Annotated[Lines | None, Blank, Query(description="Only the last lines.")] = None,
    follow: Annotated[bool, Query(description="Go on until the job ends.")] = False,
) -> Stream:
    """Preparing, engines and scoring, whichever host wrote them; of an engine its start and its work for this job.

    A line `==> replica ID <==` or `==> job ID <==` stands where another process goes on.
    """
    first = await run_in_threadpool(_first_page, services, job_id, tail)
    pieces = _log(services, job_id, first, tail, Admission(services, request.headers), follow=follow)
    return Stream(pieces, services=services, request=request, media_type="text/plain", headers=AS_IT_COMES)


def _first_page(services: Services, job_id: UUID, tail: int | None) -> LogPage:
    if tail is None:
        return services.results.logs(job_id, seen={})
    return services.results.last_logs(job_id, MOST_LINES)


async def _log(
    services: Services,
    job_id: UUID,
    page: LogPage,
    tail: int | None,
    admission: Admission,
    *,
    follow: bool,
) -> AsyncIterator[str]:
    """The rest of a log from its first page on; a tail is cut from that page."""
    seen: dict[UUID, int] = {}
    merged = MergedLog(job_id)
    text = visible(merged.add(page.pieces))
    yield text if tail is None else "".join(deque(text.splitlines(keepends=True), maxlen=tail))
    while True:
        for piece in page.pieces:
            seen[piece.owner] = max(seen.get(piece.owner, 0), piece.number)
        if page.ended or services.wakeups.closed or not (page.pieces or follow):
            return
        if not page.pieces:
            await asyncio.sleep(FOLLOW_SECONDS)
        if not await admission.holds():
            return
        page = await run_in_threadpool(_next_page, services, job_id, seen)
        yield visible(merged.add(page.pieces))


def _next_page(services: Services, job_id: UUID, seen: Mapping[UUID, int]) -> LogPage:
    """What came since; nothing for the last time where the job was deleted, and nothing yet in an outage."""
    try:
        return services.results.logs(job_id, seen=seen)
    except UnknownJobError:
        return LogPage([], ended=True)
    except DatabaseError as error:
        log.warning("could not read logs, trying again: %s", error.details)
        return LogPage([], ended=False)
