"""A job: where it stands, how it got there, and what may be done about it; live while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.feeds import LastRegions, View, shared
from app.dashboard.forms import Form
from app.dashboard.rendering import page, rendered
from app.dashboard.routing import pages
from app.dashboard.views.job import JobScreen, found_lines, last_lines, screen_of
from app.dashboard.views.tasks import IndexedTasks
from app.dashboard.words import as_json
from app.domain.job import JobStatus
from app.domain.keys import Role
from app.domain.output import MergedLog
from app.errors import FaultyField, InvalidRequestError
from app.services.job_view import JobView
from app.web.deps import CallerDep, JobId, Services, ServicesDep, Word
from app.web.streams import Stream

router = pages()

REGIONS = (
    "state",
    "actions",
    "failure",
    "phases",
    "progress",
    "quality",
    "tasks-panel",
    "replicas",
    "log-lines",
    "files",
)
"""Parts of the page that change by themselves, each a template of its name."""
LOG_REGION = "log-lines"
LOG_PIECES = 200
MOST_LOOKED_UP = 200
"""Tasks beside the names that were asked for, in the index; each takes half a millisecond."""
Find = Annotated[Word, Query(description="Only lines of the log that hold this.")]


@router.get("/jobs/{job_id}")
def read_job_page(
    job_id: JobId, request: Request, services: ServicesDep, caller: CallerDep, find: Find = ""
) -> Response:
    """The whole page."""
    view = services.jobs.view(job_id)
    shown = _shown(services, view, _indexed(services, _names(view))) | _log(services, view, find)
    ended = view.job.status.terminal
    live = None if ended else f"{request.url.path}/stream" + (f"?{request.url.query}" if find else "")
    return page(
        request,
        "job.html",
        live=live,
        ended=ended,
        may_change=caller.role.permits(Role.SUBMITTER),
        active="Queue",
        spec=as_json(view.spec.to_json()),
        **shown,
    )


@router.get("/jobs/{job_id}/stream")
def stream_job_page(
    job_id: JobId, request: Request, services: ServicesDep, caller: CallerDep, find: Find = ""
) -> Stream:
    """The regions of the page as they change, until the job ends, made once for all who look at it.

    What was found in a log stands as it is until the page is asked for again.
    """
    services.jobs.view(job_id)  # UnknownJobError
    known = lru_cache(maxsize=1)(partial(_indexed, services))
    asked = View("job", None, caller.role.permits(Role.SUBMITTER), bool(find), job_id)
    names = [name for name in REGIONS if not (find and name == LOG_REGION)]

    def regions() -> dict[str, str]:
        view = services.jobs.view(job_id)
        shown = _shown(services, view, known(_names(view))) | ({} if find else _log(services, view))
        told = {name: rendered(f"job/{name}.html", may_change=asked.may_change, **shown) for name in names}
        return LastRegions(told) if view.job.status.terminal else told

    return shared(request, services, asked, regions)


@router.post("/jobs/{job_id}")
def change_job_page(job_id: JobId, services: ServicesDep, form: Form) -> Response:
    """Do what a button says; what cannot be done any more becomes a page that says so."""
    changes: dict[str, Callable[[UUID], Any]] = {
        "cancel": services.jobs.cancel,
        "pause": services.jobs.pause,
        "resume": services.jobs.resume,
        "retry": services.jobs.retry,
        "delete": services.jobs.delete,
    }
    wanted = form.one("do")
    if wanted not in changes:
        raise InvalidRequestError([FaultyField("do", "is nothing that a job can do", tuple(changes))])
    changes[wanted](job_id)
    return RedirectResponse("/" if wanted == "delete" else f"/jobs/{job_id}", 303)


def _shown(services: Services, view: JobView, known: IndexedTasks) -> dict[str, Any]:
    now, job_id = datetime.now(UTC), view.job.id
    moves = services.jobs.moves(job_id)
    scored = _scored(services, view) if known.groups else {}
    screen: JobScreen = screen_of(view, moves, known, scored, now)
    files = services.results.artifacts(job_id) if view.job.status.terminal else []
    return {
        "screen": screen,
        "job": view.job,
        "view": view,
        "progress": view.progress,
        "now": now,
        "files": files,
    }


def _log(services: Services, view: JobView, find: str = "") -> dict[str, Any]:
    """Its last lines, or the last of those that hold a text."""
    if find:
        lines = found_lines(services.results.found_lines(view.job.id, find), find)
    else:
        log = services.results.last_logs(view.job.id, LOG_PIECES)
        lines = last_lines(MergedLog(view.job.id).add(log.pieces))
    return {"find": find, "lines": lines}


def _names(view: JobView) -> tuple[str, ...]:
    """What was asked for, and the first tasks of it."""
    tasks = (task.name for task in view.job.tasks[:MOST_LOOKED_UP])
    return tuple(dict.fromkeys((*view.spec.tasks, *tasks)))


def _indexed(services: Services, names: Iterable[str]) -> IndexedTasks:
    """The groups of these names with their tasks, and which of them score choices."""
    groups, averaged, choosing = {}, set(), set()
    for name in names:
        detail = services.tasks.find(name)
        if detail is None:
            continue
        if detail.children:
            groups[name] = detail.children
        averaged |= {name} if detail.kind == "group" else set()
        choosing |= {name} if detail.output_type == "multiple_choice" else set()
    return IndexedTasks(groups, averaged, choosing)


def _scored(services: Services, view: JobView) -> dict[str, Any]:
    """Metrics of whole groups: lm-eval has them when all is scored."""
    if view.job.status not in {JobStatus.SUCCEEDED, JobStatus.PARTIALLY_FAILED}:
        return {}
    found: dict[str, Any] = services.results.document(view.job.id).get("groups") or {}
    return found
