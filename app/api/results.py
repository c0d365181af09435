"""What a job leaves behind, over HTTP: results, samples, files, logs."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from app.api import cursors
from app.api.deps import Blank, Cursor, JobId, Services, ServicesDep, known_parameters, page_size
from app.api.problems import problems
from app.api.schemas.output import ArtifactList, ArtifactOut, SamplePage
from app.api.views import without_nan
from app.db.outputs import SampleFilter
from app.errors import NoResultsYetError, UnknownArtifactError, UnknownJobError
from app.services.results import LogPage, Sample

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"], dependencies=[Depends(known_parameters)])

FOLLOW_SECONDS = 0.5
"""How often a followed log is looked at."""
MOST_LINES = 10_000


@router.get(
    "/results", summary="lm-eval's result document", responses=problems(UnknownJobError, NoResultsYetError)
)
def read_results(job_id: JobId, services: ServicesDep) -> dict[str, Any]:
    """With `evalq` beside it for provenance; before the job ends, the tasks finished so far. NaN is null."""
    document: dict[str, Any] = without_nan(services.results.document(job_id))
    return document


def _place(task: Any, position: Any) -> tuple[str, int]:
    if not isinstance(task, str) or "\x00" in task or not 0 <= position < 2**63:
        raise ValueError("not a place in a list of samples")
    return task, int(position)


@router.get("/samples", summary="lm-eval's sample rows", responses=problems(UnknownJobError))
def read_samples(
    job_id: JobId,
    services: ServicesDep,
    *,
    task: str | None = None,
    filter: Annotated[SampleFilter | None, Blank, Query()] = None,  # noqa: A002 - its name on the wire
    limit: page_size(100, 1000) = 100,  # type: ignore[valid-type]
    cursor: Cursor = None,
) -> SamplePage:
    """By task and document; empty before the first task is scored."""
    rows = services.results.samples(
        job_id,
        task=task,
        which=filter or SampleFilter.ALL,
        after=cursors.decoded(cursor, _place),
        limit=limit + 1,
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return SamplePage(
        data=[_row(sample) for sample in rows[:limit]],
        next_cursor=cursors.encoded(last.task, last.position) if last else None,
    )


def _row(sample: Sample) -> dict[str, Any]:
    return {"task": sample.task, **without_nan(json.loads(sample.row))}


@router.get("/artifacts", summary="List the job's files", responses=problems(UnknownJobError))
def list_artifacts(job_id: JobId, services: ServicesDep) -> ArtifactList:
    """None before the job has results."""
    names = services.results.artifacts(job_id)
    here = f"/v1/jobs/{job_id}/artifacts"
    return ArtifactList(
        data=[
            ArtifactOut(name=name, media_type=_media_type(name), href=f"{here}/{quote(name)}")
            for name in names
        ]
    )


@router.get(
    "/artifacts/{name:path}",
    summary="Download a file",
    response_class=StreamingResponse,
    responses=problems(UnknownJobError, UnknownArtifactError)
    | {
        200: {
            "description": "The file, to the byte as lm-eval writes it.",
            "content": {
                "application/json": {"schema": {}},
                "application/jsonl": {"schema": {"type": "string"}},
            },
        }
    },
)
def download_artifact(job_id: JobId, name: str, services: ServicesDep) -> StreamingResponse:
    """`results_*.json` and `samples_*.jsonl`."""
    pieces = services.results.artifact(job_id, name)
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return StreamingResponse(
        pieces, media_type=_media_type(name), headers={"Content-Disposition": disposition}
    )


def _media_type(name: str) -> str:
    return "application/jsonl" if name.endswith(".jsonl") else "application/json"


@router.get(
    "/logs",
    summary="Read the job's logs",
    response_class=PlainTextResponse,
    responses=problems(UnknownJobError),
)
async def read_logs(
    job_id: JobId,
    services: ServicesDep,
    *,
    tail: Annotated[int | None, Blank, Query(ge=0, le=MOST_LINES, description="Only the last lines.")] = None,
    follow: Annotated[bool, Query(description="Go on until the job ends.")] = False,
) -> StreamingResponse:
    """Preparing, engines and scoring, whichever host wrote them."""
    first = await run_in_threadpool(_first_page, services, job_id, tail)
    return StreamingResponse(_log(services, job_id, first, tail, follow=follow), media_type="text/plain")


def _first_page(services: Services, job_id: UUID, tail: int | None) -> LogPage:
    if tail is None:
        return services.results.logs(job_id, seen={})
    return services.results.last_logs(job_id, MOST_LINES)


async def _log(
    services: Services, job_id: UUID, page: LogPage, tail: int | None, *, follow: bool
) -> AsyncIterator[str]:
    """The rest of a log from its first page on; a tail is cut from that page."""
    seen: dict[UUID, int] = {}
    text = "".join(piece.text for piece in page.pieces)
    yield text if tail is None else "".join(deque(text.splitlines(keepends=True), maxlen=tail))
    while True:
        for piece in page.pieces:
            seen[piece.owner] = max(seen.get(piece.owner, 0), piece.number)
        if page.ended or services.wakeups.closed or not (page.pieces or follow):
            return
        if not page.pieces:
            await asyncio.sleep(FOLLOW_SECONDS)
        page = await run_in_threadpool(services.results.logs, job_id, seen=dict(seen))
        yield "".join(piece.text for piece in page.pieces)
