"""Queue: the newest jobs."""

from __future__ import annotations

from fastapi import Request, Response

from app.dashboard.rendering import page
from app.dashboard.routing import pages
from app.domain.job_filter import JobFilter
from app.web.deps import CallerDep, ServicesDep

LINK = ("Queue", "/")
router = pages()
SHOWN = 50


@router.get("/")
def read_queue(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """The newest jobs that the caller may see."""
    found = services.jobs.page(JobFilter(team=caller.sees), SHOWN, None)
    return page(request, "queue.html", active="Queue", jobs=found.views, more=found.more)
