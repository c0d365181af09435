"""Which jobs a caller means: the filters of the list, wherever they stand."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.web.deps import Blank, CallerDep, Word


def wanted(
    caller: CallerDep,
    *,
    status: Annotated[JobStatus | None, Blank, Query()] = None,
    model: Annotated[Word | None, Query(description="Part of the model's name or folder.")] = None,
    task: Annotated[Word | None, Query(description="Jobs that have this lm-eval task.")] = None,
    tag: Word | None = None,
    owner: Word | None = None,
    name: Word | None = None,
    created_after: Annotated[datetime | None, Blank, Query()] = None,
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
    )


WantedDep = Annotated[JobFilter, Depends(wanted)]
