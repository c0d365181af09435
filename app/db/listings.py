"""Jobs for lists: what a list does not show is not read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from math import inf
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, select, tuple_
from sqlalchemy.orm import Session, defer

from app.db.jobs import to_job, to_task
from app.db.model_names import ModelNames, newest_of
from app.db.tables import JobRow, JobTaskRow
from app.domain.job import Job
from app.domain.job_filter import JobFilter, JobPart
from app.domain.storable import to_json

MOST_BYTES = 4 * 1024 * 1024
"""Of specs, errors and tasks in one page, beyond its first job: a spec alone may have as many."""
_STEP = 10


class ListingRepository:
    """Reads pages of jobs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(
        self,
        wanted: JobFilter,
        limit: int,
        before: tuple[datetime, UUID] | None,
        parts: Collection[JobPart] = (),
    ) -> tuple[list[Job], bool]:
        """Newest first, after the cursor, and whether there are more; fewer than `limit` where they are large.

        Of a job there is the outline in place of its spec, and no error and no tasks, where those are not among the
        parts.
        """
        asked = conditions(wanted)
        if before:
            asked.append(tuple_(JobRow.created_at, JobRow.id) < before)
        if wanted.model and (names := ModelNames(self._session).like(wanted.model)) is not None:
            asked = [JobRow.id.in_(newest_of(names, asked, limit + 1))]
        query = _newest(asked, parts).limit(limit + 1)
        with self._session.execute(query) as result:
            rows = result.partitions(_STEP if parts else limit + 1)
            each = chain.from_iterable(map(partial(self._with_tasks, parts), rows))
            return self._read(each, limit, parts, MOST_BYTES)

    def some(self, job_ids: Sequence[UUID], parts: Collection[JobPart] = ()) -> list[Job]:
        """Those of the jobs that there are, in this order, likewise; fewer where these parts of them are large."""
        rows = list(self._session.execute(_newest([JobRow.id.in_(job_ids)], parts)))
        most = MOST_BYTES if parts else inf
        jobs, _ = self._read(self._with_tasks(parts, rows), len(job_ids), parts, most)
        found = {job.id: job for job in jobs}
        return [found[job_id] for job_id in job_ids if job_id in found]

    def _with_tasks(self, parts: Collection[JobPart], rows: Sequence[Any]) -> list[Any]:
        tasks = self._tasks([row.id for row, _ in rows]) if JobPart.TASKS in parts else {}
        return [(row, spec, tasks.get(row.id, [])) for row, spec in rows]

    @staticmethod
    def _read(
        rows: Iterable[tuple[JobRow, Any, list[JobTaskRow]]],
        limit: int,
        parts: Collection[JobPart],
        most: float,
    ) -> tuple[list[Job], bool]:
        found: list[Job] = []
        left = most
        for row, spec, tasks in rows:
            error = row.error if JobPart.ERROR in parts else None
            told = [(task.metrics, task.quality, task.error) for task in tasks]
            left -= len(to_json([spec, error, told]))
            if len(found) == limit or (found and left < 0):
                return found, True
            found.append(to_job(row, tuple(map(to_task, tasks)), spec=spec, error=error))
        return found, False

    def _tasks(self, job_ids: Sequence[UUID]) -> dict[UUID, list[JobTaskRow]]:
        found: dict[UUID, list[JobTaskRow]] = defaultdict(list)
        query = select(JobTaskRow).where(JobTaskRow.job_id.in_(job_ids)).order_by(JobTaskRow.position)
        for task in self._session.scalars(query):
            found[task.job_id].append(task)
        return found


def _newest(wanted: Sequence[ColumnElement[bool]], parts: Collection[JobPart]) -> Select[tuple[JobRow, Any]]:
    """Jobs beside their specs or outlines; the outline of a job that has none stored is taken from its spec."""
    outline = func.jsonb_build_object("model", JobRow.spec["model"], "tasks", JobRow.spec["tasks"])
    spec: ColumnElement[Any] = (
        JobRow.spec if JobPart.SPEC in parts else func.coalesce(JobRow.outline, outline)  # type: ignore[assignment]
    )
    unread = [JobRow.spec, JobRow.outline, JobRow.provenance]
    unread += [] if JobPart.ERROR in parts else [JobRow.error]
    query = select(JobRow, spec).where(*wanted).options(*(defer(column, raiseload=True) for column in unread))
    query = query.order_by(JobRow.created_at.desc(), JobRow.id.desc())
    return query.execution_options(yield_per=_STEP) if parts else query


def conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    """What of `jobs` the filter lets through."""
    model = JobRow.engine["model"].astext
    has_task = exists().where(JobTaskRow.job_id == JobRow.id, JobTaskRow.name == wanted.task)
    given: list[ColumnElement[bool] | None] = [
        JobRow.status == wanted.status if wanted.status else None,
        JobRow.owner == wanted.owner if wanted.owner else None,
        JobRow.team == wanted.team if wanted.team else None,
        JobRow.name == wanted.name if wanted.name else None,
        model.icontains(wanted.model, autoescape=True) if wanted.model else None,
        JobRow.tags.contains([wanted.tag]) if wanted.tag else None,
        JobRow.created_at > wanted.created_after if wanted.created_after else None,
        JobRow.id.between(*wanted.ids) if wanted.ids else None,
        has_task if wanted.task else None,
        JobRow.ended_at.is_(None) if wanted.live else None,
    ]
    return [condition for condition in given if condition is not None]
