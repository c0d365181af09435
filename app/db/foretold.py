"""What jobs were told of their start, and when they began: a few of the latest, from which ranges are learnt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.tables import ChunkRow, ForetoldRow, JobRow
from app.domain.calibration import Fared, step
from app.domain.chunk import ChunkStatus
from app.domain.forecast import Forecast
from app.domain.job import JobStatus

MOST_KEPT = 2000
MOST_READ = 500

_GOES_ON = JobRow.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))


class ForetoldRepository:
    """Those who tell note what they told, the scheduler what was found."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def note(self, told: Mapping[UUID, Forecast], at: datetime) -> None:
        """Of jobs that no engine has answered yet, and were not told about the same before."""
        in_hand = select(ChunkRow.job_id).where(ChunkRow.status == ChunkStatus.CLAIMED)
        fresh = select(JobRow.id).where(
            JobRow.id.in_(list(told)), _GOES_ON, JobRow.gpu_seconds == 0, JobRow.id.not_in(in_hand)
        )
        rows = [
            {
                "job_id": job_id,
                "step": step(found.start),
                "told_at": at,
                "low": found.start_low,
                "start": found.start,
                "high": found.start_high,
            }
            for job_id in self._session.scalars(fresh)
            if (found := told[job_id]).start is not None and found.start_high is not None
        ]
        if rows:
            rows.sort(key=lambda row: (row["job_id"], row["step"]))  # two who note the same wait in one order
            self._session.execute(insert(ForetoldRow).values(rows).on_conflict_do_nothing())

    def settle(self) -> int:
        """Note who began, forget who never will, and what is old; how many began. Safe to repeat."""
        claimed = select(ChunkRow.job_id, func.min(ChunkRow.claimed_at).label("at"))
        in_hand = claimed.where(ChunkRow.status == ChunkStatus.CLAIMED).group_by(ChunkRow.job_id).subquery()
        jobs = select(JobRow.id, func.coalesce(in_hand.c.at, JobRow.ended_at, func.now()).label("at"))
        begun = jobs.outerjoin(in_hand, in_hand.c.job_id == JobRow.id)
        begun = begun.where(JobRow.id.in_(select(ForetoldRow.job_id).where(_OPEN)))
        began = begun.where(or_(in_hand.c.at.is_not(None), JobRow.gpu_seconds > 0)).subquery()
        settled = self._session.execute(
            update(ForetoldRow)
            .where(_OPEN, ForetoldRow.job_id == began.c.id)
            .values(began_at=func.greatest(began.c.at, ForetoldRow.told_at))
            .execution_options(synchronize_session=False)
        )
        self._forget(_OPEN, ForetoldRow.job_id.not_in(select(JobRow.id).where(_GOES_ON)))
        own = tuple_(ForetoldRow.job_id, ForetoldRow.step)
        newest = select(ForetoldRow.job_id, ForetoldRow.step).order_by(ForetoldRow.told_at.desc())
        self._forget(own.in_(newest.offset(MOST_KEPT)))
        return int(settled.rowcount)  # type: ignore[attr-defined]

    def _forget(self, *which: ColumnElement[bool]) -> None:
        self._session.execute(delete(ForetoldRow).where(*which).execution_options(synchronize_session=False))

    def fared(self) -> list[Fared]:
        """The latest of which it is known: who began, and who waits for longer than it was told."""
        row = ForetoldRow
        found = func.extract("epoch", func.coalesce(row.began_at, func.now()) - row.told_at)
        known = or_(row.began_at.is_not(None), found > row.high)
        latest = select(row.low, row.start, row.high, found).where(known).order_by(row.told_at.desc())
        rows = self._session.execute(latest.limit(MOST_READ))
        return [Fared(low, start, high, float(seconds)) for low, start, high, seconds in rows]


_OPEN = ForetoldRow.began_at.is_(None)
