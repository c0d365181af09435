"""Which jobs a caller means: the filters of the list, wherever they stand."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from app.domain.ids import ids_beginning
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.web.deps import Blank, CallerDep, Moment, Word

Beginning = Annotated[
    str | None,
    Blank,
    Query(alias="id", pattern="^[0-9a-fA-F-]{1,36}$", description="The beginning of its id."),
]


def wanted(
    caller: CallerDep,
    *,
    status: Annotated[JobStatus | None, Blank, Query(description="What the jobs are now.")] = None,
    model: Annotated[Word | None, Query(description="Part of the model's name or folder.")] = None,
    task: Annotated[Word | None, Query(description="Jobs that have this lm-eval task.")] = None,
    tag: Annotated[Word | None, Query(description="Jobs that have it.")] = None,
    owner: Annotated[Word | None, Query(description="The name of the key that posted them.")] = None,
    name: Annotated[Word | None, Query(description="All of it.")] = None,
    created_after: Annotated[Moment, Query(description="UTC unless it says a zone.")] = None,
    beginning: Beginning = None,
) -> JobFilter:
    """The filters of the list."""
    return JobFilter(
        status=status,
        owner=owner,
        team=caller.sees,
        model=model,
        task=task,
        tag=tag,
        name=name,
        created_after=created_after,
        ids=ids_beginning(beginning) if beginning else None,
    )


def newest_before(created_at: str, job_id: str) -> tuple[datetime, UUID]:
    """What a cursor of the list holds: the job that the page before ended with."""
    return datetime.fromisoformat(created_at), UUID(job_id)


WantedDep = Annotated[JobFilter, Depends(wanted)]
