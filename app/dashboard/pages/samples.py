"""Samples: what a job's documents asked, what was answered, and what of that counted; a page of them, and one open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import Field

from app.dashboard.rendering import page
from app.dashboard.routing import pages
from app.dashboard.views.samples import SampleShown, marked, sample_shown, tabs_of
from app.domain.output import SampleFilter, SampleSearch
from app.web import cursors
from app.web.deps import Blank, JobId, Services, ServicesDep, Word

router = pages()
SHOWN = 20
MOST_SEARCHED = 5000
"""Documents that are looked through at once for a text."""
MOST_POSITION = 2**31 - 2
Position = Annotated[Annotated[int, Field(ge=0, le=MOST_POSITION)] | None, Blank]


@router.get("/jobs/{job_id}/samples")
def read_samples_page(
    job_id: JobId,
    request: Request,
    services: ServicesDep,
    *,
    task: Word = "",
    filter: Annotated[SampleFilter | None, Blank] = None,  # noqa: A002 - its name in URLs
    first: Annotated[Position, Query(alias="from")] = None,
    doc: Position = None,
    find: Word = "",
    whole: Annotated[bool | None, Blank] = None,
) -> Response:
    """Documents of a task from a place on, by a filter and a text; `doc` is the place of the one that is open."""
    view = services.jobs.view(job_id)
    names = [each.name for each in view.job.tasks]
    chosen = task or (names[0] if names else "")
    which, start = filter or SampleFilter.ALL, first if first is not None else doc or 0
    search = SampleSearch(find, min(start + MOST_SEARCHED, MOST_POSITION)) if find else None
    rows = services.results.samples(
        job_id, task=chosen, which=which, after=(chosen, start - 1), limit=SHOWN + 1, search=search
    )
    listed = [sample_shown(each) for each in rows[:SHOWN]]
    at = next((at for at, each in enumerate(listed) if each.position == doc), 0)
    opened = sample_shown(rows[at], whole=bool(whole)) if rows else None

    address, filtered = _address(chosen, which, start, find), bool(find) or which is not SampleFilter.ALL
    following = rows[SHOWN].position if len(rows) > SHOWN else _unsearched(services, job_id, chosen, search)
    before, after = _neighbours(listed, at, start, following, address, filtered=filtered)
    return page(
        request,
        "samples.html",
        active="Queue",
        view=view,
        job=view.job,
        tasks=names,
        task=chosen,
        which=which,
        tabs=tabs_of(None if find else services.results.counts(job_id, chosen)),
        find=find,
        searched=search.before - start if search else 0,
        listed=listed,
        opened=opened,
        start=start,
        address=address,
        following=following,
        previous=before,
        next=after,
        file=_file(services, job_id, chosen),
        json=_json(job_id, chosen, opened.position) if opened else "",
        whole=bool(whole),
        marked=marked,
    )


def _unsearched(services: Services, job_id: UUID, task: str, search: SampleSearch | None) -> int | None:
    """The place behind those that were looked through, where there are more."""
    if search is None:
        return None
    more = services.results.samples(job_id, task=task, after=(task, search.before - 1), limit=1)
    return search.before if more else None


def _address(task: str, which: SampleFilter, start: int, find: str) -> Callable[..., str]:
    """What gives this list's address, with what a link changes of it."""
    now = {
        "task": task,
        "filter": which if which is not SampleFilter.ALL else None,
        "find": find,
        "from": start,
    }

    def address(**changes: object) -> str:
        asked = {name: value for name, value in (now | changes).items() if value not in (None, "")}
        return f"?{urlencode(asked)}"

    return address


def _neighbours(
    listed: Sequence[SampleShown],
    at: int,
    start: int,
    following: int | None,
    address: Callable[..., str],
    *,
    filtered: bool,
) -> tuple[str | None, str | None]:
    """The addresses of the documents before and after the one that is open."""
    before = _before(listed[at - 1].position if at else None, start, filtered=filtered)
    after = listed[at + 1].position if at + 1 < len(listed) else following
    turned = {"from": after} if after == following else {}
    return (
        None if before is None else address(**before),
        None if after is None else address(doc=after, **turned),
    )


def _before(position: int | None, start: int, *, filtered: bool) -> dict[str, object] | None:
    """Where the document before is: in the list, or on the page before, whose places only an unfiltered list has."""
    if position is not None:
        return {"doc": position}
    if start and not filtered:
        return {"doc": start - 1, "from": max(0, start - SHOWN)}
    return None


def _file(services: Services, job_id: UUID, task: str) -> str:
    """The address of the task's whole file, once there is one."""
    names = services.results.artifacts(job_id)
    found = next((name for name in names if name.rpartition("_")[0] == f"samples_{task}"), None)
    return f"/v1/jobs/{job_id}/artifacts/{quote(found)}" if found else ""


def _json(job_id: UUID, task: str, position: int) -> str:
    asked = {"task": task, "limit": "1"}
    asked |= {"cursor": cursors.encoded(task, position - 1)} if position else {}
    return f"/v1/jobs/{job_id}/samples?{urlencode(asked)}"
