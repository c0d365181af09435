"""Workers: hosts, groups and devices; operators drain a group and give it work again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.feeds import View, shared
from app.dashboard.forms import Form
from app.dashboard.rendering import page, rendered
from app.dashboard.routing import pages
from app.dashboard.views.workers import WorkersScreen, workers_screen
from app.domain.keys import Role
from app.errors import FaultyField, InvalidRequestError
from app.web.deps import CallerDep, Services, ServicesDep
from app.web.streams import Stream
from app.workloads.lm_eval.reading.safety import line_fault

LINK = ("Workers", "/workers")
router = pages()
Roster = Annotated[int | None, Query(ge=0, lt=2**32, description="Of the hosts and groups that are shown.")]


@router.get("/workers")
def read_workers(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """The whole page."""
    screen = _screen(services, caller.sees)
    may_change = caller.role.permits(Role.OPERATOR)
    return page(
        request,
        "workers.html",
        active="Workers",
        live=f"/workers/stream?roster={screen.roster}",
        changed=False,
        screen=screen,
        may_change=may_change,
    )


@router.get("/workers/stream")
def stream_workers(
    request: Request, services: ServicesDep, caller: CallerDep, *, roster: Roster = None
) -> Stream:
    """What workers report, as it changes, made once for all who see the same engines."""

    def regions() -> dict[str, str]:
        screen = _screen(services, caller.sees)
        shown: dict[str, Any] = {"summary": rendered("workers/summary.html", screen=screen)}
        changed = roster not in {None, screen.roster}
        shown["roster"] = rendered("workers/roster.html", changed=changed)
        for host in screen.hosts:
            shown[f"about-{host.key}"] = rendered("workers/about.html", host=host)
            for group in host.groups:
                shown[f"now-{group.name}"] = rendered("workers/now.html", group=group)
                shown[f"devices-{group.name}"] = rendered("workers/devices.html", group=group)
        return shown

    return shared(request, services, View("workers", caller.sees, may_change=False, at=roster), regions)


@router.post("/workers")
def change_group(services: ServicesDep, caller: CallerDep, form: Form) -> Response:
    """Drain a group, saying why, or give it work again; UnknownGroupError."""
    name, reason = form.one("group"), form.one("reason").strip()
    if fault := line_fault(reason):
        raise InvalidRequestError([FaultyField("reason", fault)])
    match form.one("do"):
        case "drain":
            services.groups.drain(name, by=caller.name, reason=reason or None)
        case "resume":
            services.groups.resume(name)
        case _:
            raise InvalidRequestError(
                [FaultyField("do", "is nothing that groups can do", ("drain", "resume"))]
            )
    return RedirectResponse("/workers", 303)


def _screen(services: Services, sees: str | None) -> WorkersScreen:
    now = datetime.now(UTC)
    return workers_screen(
        services.groups.all(sees), lambda group: group.alive(now, services.settings.lease), now
    )
