"""All jobs: found by the filters of the API, a page at a time, and changed many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.dashboard.forms import Form, Sent
from app.dashboard.pages.sign_in import own_path
from app.dashboard.rendering import page
from app.dashboard.routing import pages
from app.dashboard.views.listing import listing
from app.dashboard.views.rows import job_line, named_job
from app.domain.job import Job
from app.domain.job_filter import JobFilter, JobPart
from app.domain.keys import Caller, Role
from app.domain.priorities import priority_faults
from app.errors import (
    FaultyField,
    IllegalMoveError,
    InvalidRequestError,
    QuotaExceededError,
    StaleJobError,
    UnknownJobError,
)
from app.web import cursors
from app.web.deps import CallerDep, Cursor, Services, ServicesDep
from app.web.job_sheet import row_of, sheet
from app.web.wanted import WantedDep, newest_before

SHOWN = 50
MOST_AT_ONCE = 200
SHEET_PART = 500
PRIORITIES = (30, 50, 70)
ASKED = {"cancel": False, "delete": True}
"""What is asked about first, and whether it is for jobs that have ended; the others are left as they are."""
router = pages()


@router.get("/jobs")
def read_jobs(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    wanted: WantedDep,
    cursor: Cursor = None,
) -> Response:
    """Fifty of them, newest first."""
    before = cursors.decoded(cursor, newest_before)
    found = services.jobs.page(wanted, SHOWN, before, [JobPart.ERROR, JobPart.TASKS])
    last = found.views[-1].job if found.more else None
    older = cursors.encoded(last.created_at.isoformat(), str(last.id)) if last else None
    return page(
        request,
        "jobs.html",
        active="Queue",
        may_change=caller.role.permits(Role.SUBMITTER),
        wanted=wanted,
        list=listing(wanted, services.overview.counts(wanted), cursor or None, older),
        lines=[job_line(view) for view in found.views],
    )


@router.get("/jobs.csv")
def read_jobs_sheet(services: ServicesDep, wanted: WantedDep) -> Response:
    """All that the filters let through, for a sheet, newest first; read and sent a part at a time."""
    name = 'attachment; filename="jobs.csv"'
    return StreamingResponse(
        _sheet(services, wanted), media_type="text/csv", headers={"Content-Disposition": name}
    )


@router.post("/jobs")
def change_jobs(request: Request, services: ServicesDep, caller: CallerDep, form: Form) -> Response:
    """Do to each of the ticked jobs what a button says; to cancel or delete them is asked about first."""
    back, jobs = own_path(form.one("back", "/")), _ticked(services, caller, form)
    change = _change(services, caller, form)
    if form.one("do") in ASKED and form.one("sure") != "yes":
        return _ask(request, form.one("do"), jobs, back)
    refused = [(named_job(job).name, why) for job in jobs if (why := _refusal(change, job))]
    if not refused:
        return RedirectResponse(back, 303)
    return page(
        request, "jobs/done.html", active="Queue", done=len(jobs) - len(refused), refused=refused, back=back
    )


def _sheet(services: Services, wanted: JobFilter) -> Iterator[str]:
    before, more, header = None, True, True
    while more:
        found = services.jobs.page(wanted, SHEET_PART, before)
        yield sheet(map(row_of, found.views), header=header)
        more, header = found.more, False
        before = (found.views[-1].job.created_at, found.views[-1].job.id) if more else None


def _ticked(services: Services, caller: Caller, form: Sent) -> Sequence[Job]:
    """Those of the jobs that the caller may see."""
    try:
        ids = list(dict.fromkeys(UUID(text) for text in form.all("job")))
    except ValueError:
        raise InvalidRequestError([FaultyField("job", "is no id of a job")]) from None
    if not 0 < len(ids) <= MOST_AT_ONCE:
        raise InvalidRequestError([FaultyField("job", f"tick one job at least, and {MOST_AT_ONCE} at most")])
    return services.overview.some(ids, caller.sees)


def _change(services: Services, caller: Caller, form: Sent) -> Callable[[UUID], Any]:
    match form.one("do"):
        case "cancel":
            return services.jobs.cancel
        case "pause":
            return services.jobs.pause
        case "resume":
            return services.jobs.resume
        case "retry":
            return services.jobs.retry
        case "delete":
            return services.jobs.delete
        case "priority":
            return partial(services.jobs.change, priority=_priority(services, caller, form))
        case _:
            choices = ("cancel", "pause", "resume", "priority", "retry", "delete")
            raise InvalidRequestError([FaultyField("do", "is nothing that jobs can do", choices)])


def _priority(services: Services, caller: Caller, form: Sent) -> int:
    said = form.one("priority")
    if said not in map(str, PRIORITIES):
        raise InvalidRequestError(
            [FaultyField("priority", "choose one of the list", tuple(map(str, PRIORITIES)))]
        )
    if faults := priority_faults(int(said), caller.role, services.settings.priority_bounds):
        raise InvalidRequestError(faults)
    return int(said)


def _ask(request: Request, do: str, jobs: Sequence[Job], back: str) -> Response:
    meant = [named_job(job) for job in jobs if job.status.terminal is ASKED[do]]
    left = len(jobs) - len(meant)
    return page(request, "jobs/sure.html", active="Queue", do=do, jobs=meant, left=left, back=back)


def _refusal(change: Callable[[UUID], Any], job: Job) -> str | None:
    """Why a job stays as it is, where it does; it holds up no other."""
    try:
        change(job.id)
    except (IllegalMoveError, QuotaExceededError, StaleJobError, UnknownJobError) as error:
        return str(error)
    return None
