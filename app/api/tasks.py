"""lm-eval's tasks, groups and tags over HTTP, from the stored index."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.problems import problems
from app.api.schemas.cluster import TaskDetailOut, TaskPage, TaskSummaryOut
from app.errors import UnknownTaskError
from app.web import cursors
from app.web.deps import Cursor, ServicesDep, known_parameters, page_size
from app.web.links import page_links

router = APIRouter(prefix="/v1/tasks", tags=["tasks"], dependencies=[Depends(known_parameters)])


@router.get("", summary="Search tasks", responses=problems())
def list_tasks(
    services: ServicesDep,
    request: Request,
    response: Response,
    *,
    search: Annotated[
        str | None, Query(max_length=200, description="Words that its name or its dataset contains.")
    ] = None,
    limit: page_size(100, 1000) = 100,  # type: ignore[valid-type]
    cursor: Cursor = None,
) -> TaskPage:
    """Tasks, groups and tags of lm-eval and of the operator's folders."""
    found, last = services.tasks.search(search or None, limit, cursors.decoded(cursor, _place))
    data = [TaskSummaryOut.model_validate(task) for task in found]
    next_cursor = cursors.encoded(last) if last else None
    response.headers.update(page_links(request, next_cursor))
    return TaskPage(data=data, next_cursor=next_cursor)


def _place(last: Any) -> str:
    if not isinstance(last, str):
        raise TypeError("not a place in a list of tasks")
    return last


@router.get("/{name:path}", summary="Read a task", responses=problems(UnknownTaskError))
def read_task(name: str, services: ServicesDep) -> TaskDetailOut:
    """A task, or a group or tag with its children."""
    return TaskDetailOut.model_validate(services.tasks.get(name))
