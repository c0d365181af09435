"""Names of models, found by a part of them without a look at every job."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, column, func, literal, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.db.tables import JobRow

INDEXED = 600
"""Characters of a name that stand in the index: an entry of Postgres' has at most 2704 bytes."""
MOST = 1000
"""Names of models that are looked through; a service with more of them looks through its jobs, newest first."""
MOST_FOUND = 200
"""Names whose newest jobs are gathered; where more have the part in them, it is soon met among the newest jobs."""
STEM: ColumnElement[str] = literal_column(f"left(jobs.engine ->> 'model', {INDEXED})")
"""As the index has it, without parameters: a plan that is kept for any of them would not find the index."""


class ModelNames:
    """Reads what stands in the index on them, one entry a name."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def like(self, part: str) -> list[str] | None:
        """Beginnings of all names that may have this part in them, in any case; None where there are too many."""
        first = select(func.min(STEM).label("stem")).select_from(JobRow).cte("stems", recursive=True)
        later = select(func.min(STEM)).select_from(JobRow).where(first.c.stem < STEM)
        stems = first.union_all(
            select(later.correlate(first).scalar_subquery()).where(first.c.stem.is_not(None))
        )
        whole = func.length(stems.c.stem) < INDEXED
        may = or_(~whole, stems.c.stem.icontains(part, autoescape=True))
        read = select(stems.c.stem, may).where(stems.c.stem.is_not(None)).limit(MOST + 1)
        rows = self._session.execute(read).all()
        found = [stem for stem, fits in rows if fits]
        return None if len(rows) > MOST or len(found) > MOST_FOUND else found


def newest_of(names: Sequence[str], asked: Sequence[ColumnElement[bool]], limit: int) -> Select[tuple[UUID]]:
    """The newest jobs for which all that is asked holds, found by the beginnings of their models' names."""
    stems = func.unnest(literal(list(names), ARRAY(Text))).table_valued(column("stem", Text), name="stems")
    stems = stems.render_derived()
    newest = JobRow.created_at.desc(), JobRow.id.desc()
    each = select(JobRow.id, JobRow.created_at).where(stems.c.stem == STEM, *asked).order_by(*newest)
    own = each.limit(limit).correlate(stems).lateral("own")
    gathered = select(own.c.id).select_from(stems.join(own, true()))
    return gathered.order_by(own.c.created_at.desc(), own.c.id.desc()).limit(limit)
