"""Rows of `jobs` and `job_tasks`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, insert, or_, select, text, update
from sqlalchemy.orm import Session

from app.db.job_tasks import JobTaskRepository
from app.db.tables import JobRow, JobTaskRow, LogRow
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure
from app.domain.job import Job, JobStatus, JobTask, Phase, TaskStatus, left_over
from app.domain.plan import Plan
from app.domain.quality import TaskQuality
from app.domain.trace import TraceParent
from app.errors import StaleJobError, UnknownJobError

SWAPPED = (
    "name",
    "status",
    "phase",
    "reason",
    "priority",
    "version",
    "started_at",
    "ended_at",
    "deadline_at",
    "cancel_requested_at",
    "pause_requested_at",
)


class JobRepository:
    """Translates rows to jobs; every change is guarded by the row's version."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        job: Job,
        idempotency_key: str | None = None,
        body_hash: str | None = None,
        *,
        questions: str | None = None,
        events: int = 0,
    ) -> None:
        """Insert a job of which so many events are written in this transaction, and its tasks.

        Jobs of the same `questions` ask the same.
        """
        row = dict(
            id=job.id,
            owner=job.owner,
            team=job.team,
            spec=dict(job.spec),
            outline=dict(job.outline),
            engine=job.engine.to_json(),
            engine_key=job.engine.key,
            questions=questions,
            plan=job.plan.to_json(),
            tags=list(job.tags),
            created_at=job.created_at,
            idempotency_key=idempotency_key,
            body_hash=body_hash,
            traceparent=str(job.trace) if job.trace else None,
            waits_for=job.waits_for,
            event_count=events,
            **{column: getattr(job, column) for column in SWAPPED},
        )
        tasks = [
            {"job_id": job.id, "position": position, "name": task.name, "status": task.status}
            for position, task in enumerate(job.tasks)
        ]
        connection = (
            self._session.connection()
        )  # past the unit of work, which takes longer than the statements
        connection.execute(insert(JobRow), row)
        if tasks:
            connection.execute(insert(JobTaskRow), tasks)

    def get(self, job_id: UUID) -> Job:
        """The job with its tasks; UnknownJobError."""
        row = self._session.get(JobRow, job_id, populate_existing=True)
        if row is None:
            raise UnknownJobError(f"there is no job {job_id}")
        return self._with_tasks([row])[0]

    def has_team(self, job_id: UUID, team: str) -> bool:
        """Whether there is such a job and it is this team's."""
        return self._session.scalar(select(JobRow.team).where(JobRow.id == job_id)) == team

    def engines_of(self, team: str, engine_keys: Iterable[str]) -> set[str]:
        """Of these engines, those that a job of the team asks for or asked for."""
        query = select(JobRow.engine_key).where(JobRow.team == team, JobRow.engine_key.in_(list(engine_keys)))
        return set(self._session.scalars(query.distinct()))

    def teams_of_unended(self, job_ids: Iterable[UUID]) -> dict[UUID, str]:
        """The team of each of these jobs that has not ended."""
        unended = and_(JobRow.id.in_(list(job_ids)), JobRow.ended_at.is_(None))
        return {
            row.id: row.team for row in self._session.execute(select(JobRow.id, JobRow.team).where(unended))
        }

    def unended(self, team: str) -> int:
        """How many jobs of a team have not ended; holds the number until the transaction ends."""
        self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"quota {team}", 0))))
        query = select(func.count()).select_from(JobRow)
        return self._session.scalar(query.where(JobRow.team == team, JobRow.ended_at.is_(None))) or 0

    def by_idempotency_key(self, team: str, owner: str, key: str) -> tuple[Job, str | None] | None:
        """The job first posted with this key, and the hash of its body."""
        row = self._session.scalar(
            select(JobRow).where(JobRow.team == team, JobRow.owner == owner, JobRow.idempotency_key == key)
        )
        return (self._with_tasks([row])[0], row.body_hash) if row else None

    def reserve(self, team: str, owner: str, key: str) -> bool:
        """Hold an idempotency key until the transaction ends, however long it is idle; False while another does."""
        self._session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        name = func.hashtextextended(f"{team} {owner} {key}", 0)
        return bool(self._session.scalar(select(func.pg_try_advisory_xact_lock(name))))

    def swap(self, old: Job, new: Job) -> Job:
        """Write `new` over `old` unless somebody wrote the row in between: then StaleJobError.

        A job that is over then leaves no task open.
        """
        values = {column: getattr(new, column) for column in SWAPPED if column != "version"}
        values |= {"tags": list(new.tags), "error": new.error.to_json() if new.error else None}
        values["version"] = old.version + 1
        done = self._session.execute(
            update(JobRow).where(JobRow.id == old.id, JobRow.version == old.version).values(**values)
        )
        if not done.rowcount:  # type: ignore[attr-defined]
            raise StaleJobError(f"job {old.id} changed in between")
        if new.status.terminal:
            JobTaskRepository(self._session).close([old.id], left_over(new.status, new.error))
        return self.get(old.id)

    def reset_tasks(self, job_id: UUID) -> None:
        """Failed and unfinished tasks wait again, what failed is not done any more, lost coordinators are forgiven."""
        self._session.execute(update(JobRow).where(JobRow.id == job_id).values(losses=0, requests_done=0))
        self._session.execute(
            update(JobTaskRow)
            .where(JobTaskRow.job_id == job_id)
            .values(status=TaskStatus.WAITING, error=None)
        )

    def delete(self, job: Job) -> None:
        """Remove the job and all that belongs to it, unless somebody wrote the row in between: then StaleJobError."""
        done = self._session.execute(delete(JobRow).where(JobRow.id == job.id, JobRow.version == job.version))
        if not done.rowcount:  # type: ignore[attr-defined]
            raise StaleJobError(f"job {job.id} changed in between")
        self._session.execute(delete(LogRow).where(or_(LogRow.owner_id == job.id, LogRow.job_id == job.id)))

    def document(self, job_id: UUID) -> tuple[str | None, str | None, str | None, dict[str, Any] | None]:
        """The stored result document, its model name and date, and the provenance."""
        row = self._session.execute(
            select(JobRow.results, JobRow.result_name, JobRow.result_date, JobRow.provenance).where(
                JobRow.id == job_id
            )
        ).one_or_none()
        if row is None:
            raise UnknownJobError(f"there is no job {job_id}")
        return row.results, row.result_name, row.result_date, row.provenance

    def traces(self, job_ids: Iterable[UUID]) -> dict[UUID, TraceParent]:
        """Of each of these jobs that has one."""
        rows = self._session.execute(
            select(JobRow.id, JobRow.traceparent).where(JobRow.id.in_(list(job_ids)))
        )
        found = {row.id: TraceParent.parse(row.traceparent or "") for row in rows}
        return {job_id: trace for job_id, trace in found.items() if trace}

    def rates(self, job_ids: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
        """What the coordinators measured last."""
        rows = self._session.execute(select(JobRow.id, JobRow.rates).where(JobRow.id.in_(list(job_ids))))
        return {row.id: row.rates or {} for row in rows}

    def _with_tasks(self, rows: Sequence[JobRow]) -> list[Job]:
        ids = [row.id for row in rows]
        tasks: dict[UUID, list[JobTask]] = {job_id: [] for job_id in ids}
        query = select(JobTaskRow).where(JobTaskRow.job_id.in_(ids)).order_by(JobTaskRow.position)
        for task in self._session.scalars(query.execution_options(populate_existing=True)):
            tasks[task.job_id].append(to_task(task))
        return [to_job(row, tuple(tasks[row.id]), spec=row.spec, error=row.error) for row in rows]


def to_task(row: JobTaskRow) -> JobTask:
    """A row as the rules see it."""
    return JobTask(
        name=row.name,
        status=TaskStatus(row.status),
        done=row.done,
        total=row.total,
        metrics=json.loads(row.metrics) if row.metrics else None,
        error=Failure.from_json(row.error) if row.error else None,
        quality=TaskQuality.from_json(row.quality) if row.quality else None,
    )


def to_job(
    row: JobRow, tasks: tuple[JobTask, ...], *, spec: Mapping[str, Any], error: Mapping[str, Any] | None
) -> Job:
    """A row as the rules see it; what may be large of it comes beside it, read or not."""
    return Job(
        id=row.id,
        owner=row.owner,
        team=row.team,
        name=row.name,
        spec=spec,
        engine=EngineSpec.from_json(row.engine),
        plan=Plan.from_json(row.plan),
        created_at=row.created_at,
        status=JobStatus(row.status),
        phase=Phase(row.phase) if row.phase else None,
        reason=row.reason,
        priority=row.priority,
        tags=tuple(row.tags),
        trace=TraceParent.parse(row.traceparent or ""),
        attempt=row.attempt,
        version=row.version,
        started_at=row.started_at,
        ended_at=row.ended_at,
        deadline_at=row.deadline_at,
        cancel_requested_at=row.cancel_requested_at,
        pause_requested_at=row.pause_requested_at,
        lease_expires_at=row.lease_expires_at,
        due_at=row.due_at if row.lease_token is None else None,
        waits_for=row.waits_for,
        requests_total=row.requests_total,
        requests_done=row.requests_done,
        requests_reused=row.requests_reused,
        progress_at=row.progress_at,
        gpu_seconds=row.gpu_seconds,
        error=Failure.from_json(error) if error else None,
        tasks=tasks,
    )
