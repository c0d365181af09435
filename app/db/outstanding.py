"""What jobs in line still ask of engines, and what engines and jobs of any kind took of late."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session, load_only

from app.db.line import in_line
from app.db.tables import ChunkRow, JobRow, ReplicaRow
from app.db.wishes import can_be_claimed, wants_answers
from app.domain.chunk import PENDING
from app.domain.demands import Learnt
from app.domain.engine_spec import EngineSpec
from app.domain.estimates import Habits, Outstanding
from app.domain.job import JobStatus, Phase
from app.domain.line import InLine
from app.domain.plan import Plan

LATEST_OF_ALL = 200
LATEST_JOBS = 50
_READ = (
    *(JobRow.team, JobRow.owner, JobRow.priority, JobRow.created_at),
    *(JobRow.engine, JobRow.plan, JobRow.phase, JobRow.rates),
)


class OutstandingRepository:
    """Reads only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def work(self, most: int) -> list[Outstanding]:
        """The first jobs in line for a coordinator or for engines, and those that engines answer now."""
        first = select(JobRow).where(_asks())
        first = first.options(load_only(*_READ, raiseload=True))  # a spec may be of megabytes
        jobs = self._session.scalars(first.order_by(*in_line()).limit(most)).all()
        pending = (
            select(ChunkRow.job_id, func.count(), func.sum(ChunkRow.cost))
            .where(ChunkRow.job_id.in_([job.id for job in jobs]), ChunkRow.status.in_(PENDING))
            .group_by(ChunkRow.job_id)
        )
        sums = {job_id: (count, float(cost)) for job_id, count, cost in self._session.execute(pending)}
        found = (_outstanding(job, *sums.get(job.id, (0, 0.0))) for job in jobs)
        return [item for item in found if item is not None]

    def count(self, most: int) -> int:
        """How many they are, as far as that is counted."""
        some = select(JobRow.id).where(_asks()).limit(most).subquery()
        return self._session.execute(select(func.count()).select_from(some)).scalar_one()

    def habits(self) -> Habits:
        """Of all engines and jobs of late."""
        latest = select(ReplicaRow).order_by(ReplicaRow.placed_at.desc()).limit(LATEST_OF_ALL).subquery()
        load, speed = self._session.execute(select(*_pace(latest.c))).one()
        answered, prepared = self._session.execute(_jobs_took()).one()
        return Habits(Learnt(load, speed), answered, prepared)


def _asks() -> ColumnElement[bool]:
    preparing = JobRow.phase == Phase.PREPARING
    running = (JobRow.status == JobStatus.RUNNING) & or_(preparing, wants_answers())
    return and_(or_(can_be_claimed(), running), JobRow.phase.is_distinct_from(Phase.SCORING))


def _outstanding(job: JobRow, chunks: int, cost: float) -> Outstanding | None:
    """None of one that cannot be read, as another version may have written it: it holds up no other."""
    told = (job.rates or {}).get("eta_seconds") if job.phase == Phase.EVALUATING else None
    try:
        plan, engine = Plan.from_json(job.plan), EngineSpec.from_json(job.engine)
    except (KeyError, TypeError, ValueError):  # who gives it devices tells of it
        return None
    line = InLine(job.id, job.team, job.owner, job.priority, job.created_at, told, engine.gpus)
    return Outstanding(line, engine, plan, chunks > 0 or job.phase == Phase.EVALUATING, chunks, cost)


def _pace(replicas: Any) -> tuple[Any, Any]:
    """Seconds to load, in the middle, and cost a second, over all of these replicas."""
    seconds = func.extract("epoch", replicas.serving_at - replicas.claimed_at)
    load = func.percentile_cont(0.5).within_group(seconds).filter(replicas.serving_at.is_not(None))
    busy = func.nullif(func.sum(replicas.busy_seconds), 0.0)
    return load, func.nullif(func.sum(replicas.cost_done), 0.0) / busy


def _jobs_took() -> Select[float | None, float | None]:
    """What the latest jobs took of one engine, and to have their prompts built, in the middle."""
    ended = select(JobRow).where(JobRow.status == JobStatus.SUCCEEDED)
    latest = ended.order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(LATEST_JOBS).subquery().c
    prepared = func.extract("epoch", latest.planned_at - latest.started_at)
    return select(
        func.percentile_cont(0.5).within_group(latest.gpu_seconds).filter(latest.gpu_seconds > 0),
        func.percentile_cont(0.5).within_group(prepared).filter(prepared > 0),
    )
