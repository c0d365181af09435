"""What a job leaves behind, over HTTP: results, samples, files, logs."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from app.api.problems import problems
from app.api.rendering import answer
from app.api.schemas.output import ArtifactList, ArtifactOut, SamplePage
from app.api.tables import json_lines
from app.domain.output import Sample, SampleFilter
from app.domain.storable import storable
from app.errors import NoResultsYetError, UnknownArtifactError, UnknownJobError
from app.web import cursors
from app.web.deps import Blank, Cursor, JobId, ServicesDep, Word, known_parameters, page_size
from app.web.links import page_links
from app.web.offers import chosen, kinds
from app.web.zip_stream import zipped
from app.workloads.lm_eval.result_table import comma_separated, headline, markdown

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"], dependencies=[Depends(known_parameters)])

TABLES = ("text/markdown", "text/plain")
CSV, JSON_LINES, ZIP = "text/csv", "application/jsonl", "application/zip"
FILTER = (
    "`correct` and `incorrect` go by the task's first metric that is 0 or 1 for every document, as its"
    " higher_is_better says; where there is none, they find nothing. `truncated` is an answer that ended at its"
    " longest, `empty` one of nothing but blanks."
)
Filter = Annotated[SampleFilter | None, Blank, Query(description=FILTER)]


@router.get(
    "/results",
    summary="lm-eval's result document",
    response_model=dict[str, Any],
    responses=problems(UnknownJobError, NoResultsYetError)
    | kinds("The document; or lm-eval's table, or a line for each metric.", *TABLES, CSV),
)
def read_results(job_id: JobId, services: ServicesDep, request: Request) -> Response:
    """With `evalq` beside it for provenance; before the job ends, the tasks finished so far. NaN is null.

    As text lm-eval's header line and its table.
    """
    document = services.results.document(job_id)
    kind = chosen(request, "application/json", *TABLES, CSV)
    if kind == "application/json":
        return JSONResponse(storable(document))
    view = services.jobs.view(job_id)
    if kind == CSV:
        ended = view.job.ended_at.isoformat() if view.job.ended_at else ""
        about = {"job": str(job_id), "model": view.job.engine.model, "ended_at": ended}
        return Response(comma_separated(document, about) + "\n", media_type=CSV)
    text = f"{headline(view.spec, document)}\n\n{markdown(document)}\n"
    return Response(text, media_type=kind)


def _place(task: Any, position: Any) -> tuple[str, int]:
    if not isinstance(task, str) or "\x00" in task or not 0 <= position < 2**63:
        raise ValueError("not a place in a list of samples")
    return task, int(position)


@router.get(
    "/samples",
    summary="lm-eval's sample rows",
    response_model=SamplePage,
    responses=problems(UnknownJobError)
    | kinds("Rows; beside JSON the next page is told by `Link`.", JSON_LINES),
)
def read_samples(
    job_id: JobId,
    services: ServicesDep,
    request: Request,
    *,
    task: Word | None = None,
    filter: Filter = None,  # noqa: A002 - its name on the wire
    limit: page_size(100, 1000) = 100,  # type: ignore[valid-type]
    cursor: Cursor = None,
) -> Response:
    """By task and document; empty before the first task is scored."""
    rows = services.results.samples(
        job_id,
        task=task,
        which=filter or SampleFilter.ALL,
        after=cursors.decoded(cursor, _place),
        limit=limit + 1,
    )
    last = rows[limit - 1] if len(rows) > limit else None
    next_cursor = cursors.encoded(last.task, last.position) if last else None
    links = page_links(request, next_cursor)
    data = [_row(sample) for sample in rows[:limit]]
    if chosen(request, "application/json", JSON_LINES) == JSON_LINES:
        return Response(json_lines(data), headers=links, media_type=JSON_LINES)
    return answer(SamplePage(data=data, next_cursor=next_cursor), headers=links)


def _row(sample: Sample) -> dict[str, Any]:
    return {"task": sample.task, **storable(json.loads(sample.row))}


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
    "/artifacts.zip",
    summary="Download all files",
    response_class=StreamingResponse,
    responses=problems(UnknownJobError, NoResultsYetError)
    | {
        200: {
            "description": "In the folder that lm-eval would have written them to. What breaks off is no zip file.",
            "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
def download_artifacts(job_id: JobId, services: ServicesDep) -> StreamingResponse:
    """`results_*.json` and `samples_*.jsonl` in one zip file, made while it is sent."""
    bundle = services.results.bundle(job_id)
    pieces = zipped(((place, file.pieces) for place, file in bundle.files), bundle.written_at)
    disposition = f'attachment; filename="{job_id}.zip"'
    return StreamingResponse(pieces, media_type=ZIP, headers={"Content-Disposition": disposition})


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
    file = services.results.artifact(job_id, name)
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return StreamingResponse(
        file.pieces,
        media_type=_media_type(name),
        headers={"Content-Disposition": disposition, "Content-Length": str(file.size_bytes)},
    )


def _media_type(name: str) -> str:
    return "application/jsonl" if name.endswith(".jsonl") else "application/json"
