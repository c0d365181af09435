"""A job's events over HTTP: as a stream that ends with the job, or as a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from app.api.problems import component, problems
from app.api.rendering import answer, event_out, snapshot
from app.api.schemas.events import EventMessage, JobEventList
from app.api.schemas.job import EventList, EventOut
from app.domain.event import Event
from app.errors import BusyError, DatabaseError, TooManyStreamsError, UnknownJobError
from app.services.job_view import Glance
from app.web.deps import Blank, JobId, Services, ServicesDep, known_parameters, page_size
from app.web.preference import preferred
from app.web.streams import AS_IT_COMES, LOOK_SECONDS, Admission, Stream

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(known_parameters)])

ENCODED = 4096
"""Events of which the text is kept, for all streams that send them."""
STREAM = "text/event-stream"
Number = Annotated[int, Query(ge=0, le=2**63 - 1, description="Events with a greater number.")]
Seen = Annotated[int, Field(ge=0, le=2**63 - 1)]
LastEventId = Annotated[
    Seen | None, Blank, Header(description="Sent by a client that connects again; wins over `after`.")
]


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_model=JobEventList,
    responses=problems(UnknownJobError, TooManyStreamsError, BusyError)
    | {
        200: {
            "content": {STREAM: {"schema": component(EventMessage)}},
            "description": "The events.",
        },
        204: {"description": "The job has ended and `Last-Event-ID` is its last event: do not ask again."},
    },
)
async def read_events(
    job_id: JobId,
    services: ServicesDep,
    request: Request,
    *,
    after: Number = 0,
    last_event_id: LastEventId = None,
    limit: page_size(1000, 1000) = 1000,  # type: ignore[valid-type]
) -> Response:
    """Server-sent events: a snapshot of the job, what happened since, what happens; ends when the job does.

    With `Accept: application/json` the events so far, at most `limit`.
    """
    after = after if last_event_id is None else last_event_id
    accept = request.headers.get("accept", "")
    if preferred(accept, STREAM, "application/json") == "application/json":
        return await run_in_threadpool(_listed, services, job_id, after, limit)
    if last_event_id is not None and await run_in_threadpool(_is_over, services, job_id, after):
        return Response(status_code=204)
    told = _Told(services, job_id, after)
    first = await told.snapshot()
    return Stream(
        _stream(services, told, first, Admission(services, request.headers)),
        services=services,
        request=request,
        media_type=STREAM,
        headers=AS_IT_COMES,
    )


def _listed(services: Services, job_id: UUID, after: int, limit: int) -> Response:
    events = services.jobs.events(job_id, after, limit)
    return answer(EventList(data=[event_out(event) for event in events]))


def _is_over(services: Services, job_id: UUID, after: int) -> bool:
    """Nothing more will come: a browser's EventSource would otherwise connect again for ever."""
    news = services.jobs.news(job_id, after, limit=1)
    return news.ended and not news.events


class _Told:
    """What a stream has said of its job."""

    def __init__(self, services: Services, job_id: UUID, after: int) -> None:
        self._services = services
        self._reason: str | None = None
        self._moved = False
        self.job_id = job_id
        self.after = after

    async def snapshot(self) -> bytes:
        """The job as it is: as the first event, and where no event tells of its reason."""
        key = ("snapshot", self.job_id)
        self._reason, sent = await self._services.shared.read(
            key, partial(_snapshot, self._services, self.job_id)
        )
        self._moved = False
        return sent

    def events(self, events: Sequence[Event]) -> bytes:
        """The next ones."""
        self.after, self._moved = events[-1].id, True
        return b"".join(map(_sse, events))

    async def idle(self, look: Glance | None) -> bytes:
        """The job again where its reason has changed and no event told of it, else that the stream lives."""
        if look is None or self._is_told(look):
            return KEEPALIVE_COMMENT
        try:
            return await self.snapshot()
        except (DatabaseError, UnknownJobError):
            return KEEPALIVE_COMMENT

    def _is_told(self, look: Glance) -> bool:
        """Whether what was sent says why the job is where it is."""
        if self._moved and look.reason == look.written:
            self._reason, self._moved = look.reason, False
        return look.reason == self._reason


def _snapshot(services: Services, job_id: UUID) -> tuple[str | None, bytes]:
    """The job's reason, and the job as an event.

    Not written on the event loop, where all others wait: a job's spec may be of megabytes.
    """
    view = services.jobs.view(job_id)
    return view.reason, _encoded(snapshot(view))


async def _stream(
    services: Services, told: _Told, first: bytes, admission: Admission
) -> AsyncIterator[bytes]:
    yield first
    async with aclosing(services.followers.follow(told.job_id, told.after, LOOK_SECONDS)) as stream:
        async for news in stream:
            if not await admission.holds():
                return
            if news.events:
                yield told.events(news.events)
            elif not news.ended:
                yield await told.idle(news.look)


@lru_cache(ENCODED)
def _sse(event: Event) -> bytes:
    """An event as it is sent, written once for all streams that share it."""
    return _encoded(event_out(event))


def _encoded(event: EventOut) -> bytes:
    number = None if event.id is None else str(event.id)
    return format_sse_event(data_str=event.model_dump_json(), event=event.type, id=number)
