"""Queue: what the devices do, what runs, what waits and why, what ended; live."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response

from app.dashboard.feeds import View, shared
from app.dashboard.rendering import page, rendered
from app.dashboard.routing import pages
from app.dashboard.views.lanes import Seen
from app.dashboard.views.queue import QueueScreen, queue_screen
from app.dashboard.views.rows import job_line
from app.dashboard.views.timeline import SIDE
from app.domain.job_filter import JobFilter
from app.domain.keys import Caller, Role
from app.web.deps import CallerDep, Services, ServicesDep
from app.web.streams import Stream

LINK = ("Queue", "/")
router = pages()
SHOWN = 50
ENDED_SHOWN = 15
LATELY = timedelta(hours=24)
REGIONS = {"summary": "summary", "gpus": "gpus", "running-part": "running", "waiting-part": "waiting"}
"""Parts of the page that change by themselves, by their ids; each has a template."""
Place = Annotated[int, Query(ge=0, lt=2**31, description="Jobs that wait behind this place.")]


@router.get("/")
def read_queue(request: Request, services: ServicesDep, caller: CallerDep, *, after: Place = 0) -> Response:
    """The whole page."""
    now = datetime.now(UTC)
    ended = services.overview.ended(now - LATELY, caller.sees, ENDED_SHOWN, now)
    return page(
        request,
        "queue.html",
        active="Queue",
        live=f"/queue/stream?after={after}" if after else "/queue/stream",
        after=after,
        wanted=JobFilter(),
        may_change=caller.role.permits(Role.SUBMITTER),
        screen=_screen(services, caller, after, now),
        ended=[job_line(view) for view in ended],
    )


@router.get("/queue/table")
def read_table(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """What the timelines draw, as a table; by itself, since few read it and the page of the queue is long."""
    screen = _screen(services, caller, 0, datetime.now(UTC))
    return page(request, "queue/table.html", active="Queue", screen=screen)


@router.get("/queue/stream")
def stream_queue(request: Request, services: ServicesDep, caller: CallerDep, *, after: Place = 0) -> Stream:
    """The regions of the page as they change, made once for all who see the same jobs."""
    view = View("queue", caller.sees, caller.role.permits(Role.SUBMITTER), after)

    def regions() -> dict[str, str]:
        now = datetime.now(UTC)
        shown: dict[str, Any] = {
            "screen": _screen(services, caller, after, now),
            "may_change": view.may_change,
        }
        return {name: rendered(f"queue/{file}.html", **shown) for name, file in REGIONS.items()}

    return shared(request, services, view, regions)


def _screen(services: Services, caller: Caller, after: int, now: datetime) -> QueueScreen:
    queue = services.queue.page(SHOWN, after, caller.sees)
    seen = Seen(
        services.overview.occupied(now - SIDE),
        queue.waiting,
        services.estimates.latest(),
        caller.sees,
        timedelta(seconds=services.settings.idle_seconds),
    )
    return queue_screen(
        groups=services.groups.all(caller.sees),
        seen=seen,
        running=services.queue.going_on(SHOWN, caller.sees),
        queue=queue,
        first_visit=services.overview.is_empty(caller.sees),
        alive=lambda group: group.alive(now, services.settings.lease),
        now=now,
    )
