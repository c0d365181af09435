"""Events of all jobs over HTTP: as pages, or as a stream that goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from app.api.events import STREAM, Seen
from app.api.jobs import JSON_LINES
from app.api.problems import component, problems
from app.api.rendering import answer, serial_event_out
from app.api.schemas.events import AllEventsPage, EventMessage
from app.api.schemas.job import SerialEventList
from app.domain.event import EventPage, SerialEvent
from app.domain.job_filter import JobFilter
from app.errors import BusyError, TooManyStreamsError
from app.web import cursors
from app.web.deps import Blank, Cursor, Services, ServicesDep, known_parameters, page_size
from app.web.links import page_links
from app.web.offers import chosen
from app.web.streams import AS_IT_COMES, LOOK_SECONDS, Admission, Stream
from app.web.wanted import WantedDep

JSON = "application/json"
ENCODED = 512
"""Events of which the text is kept, for all streams that send them."""

router = APIRouter(prefix="/v1/events", tags=["jobs"], dependencies=[Depends(known_parameters)])

After = Annotated[
    Seen | None,
    Blank,
    Query(
        description="Events behind this `id` or `position`, from 0 on. Without it a list begins with the oldest one,"
        " and a stream with what happens from now on."
    ),
]
Last = Annotated[
    Seen | None, Blank, Header(description="Sent by a client that connects again; wins over the others.")
]


@router.get(
    "",
    summary="Follow all jobs",
    response_model=AllEventsPage,
    responses=problems(TooManyStreamsError, BusyError)
    | {
        200: {
            "content": {
                STREAM: {"schema": component(EventMessage)},
                JSON_LINES: {"schema": {"type": "string"}},
            },
            "description": "The events; beside JSON the next page is told by `Link`.",
        }
    },
)
async def read_all_events(
    services: ServicesDep,
    wanted: WantedDep,
    request: Request,
    *,
    after: After = None,
    last_event_id: Last = None,
    limit: page_size(100, 1000) = 100,  # type: ignore[valid-type]
    cursor: Cursor = None,
) -> Response:
    """Events of the jobs that the filters let through as they are now, oldest first.

    A page of those so far; with `Accept: text/event-stream` what happens from now on, too.
    """
    begin = cursors.decoded(cursor, _position) if after is None else after
    begin = begin if last_event_id is None else last_event_id
    kind = chosen(request, JSON, STREAM, JSON_LINES)
    if kind != STREAM:
        page = await run_in_threadpool(services.events.page, begin or 0, limit, wanted)
        return await run_in_threadpool(_listed, page, request, kind)
    if begin is None:
        begin = await run_in_threadpool(services.events.position)
    return Stream(
        _stream(services, wanted, begin, Admission(services, request.headers)),
        services=services,
        request=request,
        media_type=STREAM,
        headers=AS_IT_COMES,
    )


def _position(serial: object) -> int:
    """Of a cursor; ValueError where it holds another thing."""
    if type(serial) is not int or not 0 <= serial < 2**63:
        raise ValueError("no position")
    return serial


def _listed(page: EventPage, request: Request, kind: str) -> Response:
    cursor = cursors.encoded(page.position) if page.more else None
    told = [serial_event_out(event) for event in page.events]
    links = page_links(request, cursor)
    if kind == JSON_LINES:
        return Response("".join(f"{each.model_dump_json()}\n" for each in told), 200, links, JSON_LINES)
    return answer(SerialEventList(data=told, next_cursor=cursor, position=page.position), 200, links)


async def _stream(
    services: Services, wanted: JobFilter, after: int, admission: Admission
) -> AsyncIterator[bytes]:
    said = None
    async with aclosing(services.followers.follow_all(wanted, after, LOOK_SECONDS)) as stream:
        async for page in stream:
            if not await admission.holds():
                return
            if page.events:
                yield b"".join(map(_sse, page.events))
            here = page.events[-1].serial if page.events else page.position
            if not page.events:
                yield KEEPALIVE_COMMENT if here == said else b"id: %d\n%b" % (here, KEEPALIVE_COMMENT)
            said = here


@lru_cache(ENCODED)
def _sse(event: SerialEvent) -> bytes:
    """An event as it is sent, written once for all streams that share it."""
    text = serial_event_out(event).model_dump_json()
    return format_sse_event(data_str=text, event=event.event.type, id=str(event.serial))
