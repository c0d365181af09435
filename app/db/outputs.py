"""Rows of `samples` and `log_pieces`: what a job leaves behind besides its result document."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.db.tables import LogRow, SampleRow


class SampleRepository:
    """lm-eval's sample lines, kept as text."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, job_id: UUID, task: str, first: int, rows: Sequence[tuple[str, bool | None]]) -> None:
        """Store lines from position `first` on; a second attempt overwrites the first one's."""
        for start in range(0, len(rows), 500):
            values = [
                {
                    "job_id": job_id,
                    "task": task,
                    "position": first + start + i,
                    "row": row,
                    "correct": correct,
                }
                for i, (row, correct) in enumerate(rows[start : start + 500])
            ]
            statement = upsert(SampleRow).values(values)
            overwrite = {"row": statement.excluded.row, "correct": statement.excluded.correct}
            self._session.execute(
                statement.on_conflict_do_update(index_elements=["job_id", "task", "position"], set_=overwrite)
            )

    def clear(self, job_id: UUID) -> None:
        """Forget an earlier attempt's lines."""
        self._session.execute(delete(SampleRow).where(SampleRow.job_id == job_id))

    def page(
        self, job_id: UUID, task: str | None, correct: bool | None, after: tuple[str, int] | None, limit: int
    ) -> list[SampleRow]:
        """Lines after the cursor, by task and position; `correct` None means any."""
        query = select(SampleRow).where(SampleRow.job_id == job_id)
        if task:
            query = query.where(SampleRow.task == task)
        if correct is not None:
            query = query.where(SampleRow.correct.is_(correct))
        if after:
            query = query.where(
                (SampleRow.task > after[0]) | ((SampleRow.task == after[0]) & (SampleRow.position > after[1]))
            )
        return list(self._session.scalars(query.order_by(SampleRow.task, SampleRow.position).limit(limit)))

    def tasks(self, job_id: UUID) -> list[str]:
        """Tasks that have lines."""
        query = select(SampleRow.task).where(SampleRow.job_id == job_id).distinct().order_by(SampleRow.task)
        return list(self._session.scalars(query))


class LogRepository:
    """Pieces of children's logs, whichever host wrote them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, owner_id: UUID, text: str) -> None:
        """Append a piece."""
        self._session.execute(insert(LogRow).values(owner_id=owner_id, text=text.replace("\x00", "")))

    def after(self, owner_ids: Sequence[UUID], number: int, limit: int) -> list[LogRow]:
        """Pieces with a greater number, oldest first."""
        query = select(LogRow).where(LogRow.owner_id.in_(owner_ids), LogRow.number > number)
        return list(self._session.scalars(query.order_by(LogRow.number).limit(limit)))

    def last(self, owner_ids: Sequence[UUID], limit: int) -> list[LogRow]:
        """The newest pieces, oldest first."""
        query = (
            select(LogRow).where(LogRow.owner_id.in_(owner_ids)).order_by(LogRow.number.desc()).limit(limit)
        )
        return list(reversed(self._session.scalars(query).all()))

    def size(self, owner_id: UUID) -> int:
        """Characters stored for an owner."""
        query = select(func.coalesce(func.sum(func.length(LogRow.text)), 0)).where(
            LogRow.owner_id == owner_id
        )
        return int(self._session.scalar(query) or 0)
