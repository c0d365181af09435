"""Rows of `samples` and `log_pieces`: what a job leaves behind besides its result document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, true, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.db.tables import LogRow, SampleRow
from app.domain.output import LogPiece, Sample, SampleCounts, SampleFilter, SampleLine, SampleSearch

ERROR_MARK = '"evalq_error": '
"""In a line of JSON an unescaped quote before a colon ends a key: this text is there only as one."""


class SampleRepository:
    """lm-eval's sample lines, kept as text."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, job_id: UUID, task: str, first: int, rows: Sequence[SampleLine]) -> None:
        """Store lines from position `first` on; a second attempt overwrites the first one's."""
        for start in range(0, len(rows), 500):
            values = [
                {"job_id": job_id, "task": task, "position": first + start + i, **line._asdict()}
                for i, line in enumerate(rows[start : start + 500])
            ]
            statement = upsert(SampleRow).values(values)
            overwrite = {name: statement.excluded[name] for name in SampleLine._fields}
            self._session.execute(
                statement.on_conflict_do_update(index_elements=["job_id", "task", "position"], set_=overwrite)
            )

    def clear(self, job_id: UUID) -> None:
        """Forget an earlier attempt's lines."""
        self._session.execute(delete(SampleRow).where(SampleRow.job_id == job_id))

    def page(
        self,
        job_id: UUID,
        task: str | None,
        which: SampleFilter,
        after: tuple[str, int] | None,
        limit: int,
        *,
        search: SampleSearch | None = None,
    ) -> list[Sample]:
        """Lines after the cursor, by task and position."""
        query = select(SampleRow).where(SampleRow.job_id == job_id, _condition(which), _holds(search))
        if task:
            query = query.where(SampleRow.task == task)
        if after:
            query = query.where(tuple_(SampleRow.task, SampleRow.position) > after)
        rows = self._session.scalars(query.order_by(SampleRow.task, SampleRow.position).limit(limit))
        return [
            Sample(row.task, row.position, row.row, row.correct, row.truncated, row.empty) for row in rows
        ]

    def counts(self, job_id: UUID, task: str, most: int) -> SampleCounts:
        """Of a task's first lines."""
        own = and_(SampleRow.job_id == job_id, SampleRow.task == task)
        filters = list(SampleFilter)
        # Of a line with a verdict it need not be read whether it tells of an error.
        passes = [_condition(each) for each in filters if each is not SampleFilter.ERROR]
        error = and_(SampleRow.correct.is_(None), _condition(SampleFilter.ERROR))
        passes.insert(filters.index(SampleFilter.ERROR), error)
        looked = select(*(each.label(name) for name, each in zip(filters, passes, strict=True)))
        rows = looked.where(own).order_by(SampleRow.position).limit(most + 1).subquery()
        sums = [func.count().filter(rows.c[name]) for name in filters]
        found = dict(zip(filters, self._session.execute(select(*sums)).one(), strict=True))
        return SampleCounts(found, found[SampleFilter.ALL] > most)

    def size_bytes(self, job_id: UUID, task: str) -> int:
        """Of a task's lines as a file, each with its line end."""
        size = func.coalesce(func.sum(func.octet_length(SampleRow.row) + 1), 0)
        query = select(size).where(SampleRow.job_id == job_id, SampleRow.task == task)
        return int(self._session.scalar(query) or 0)

    def sizes_bytes(self, job_id: UUID) -> dict[str, int]:
        """The same of each task that has lines."""
        size = func.sum(func.octet_length(SampleRow.row) + 1)
        query = select(SampleRow.task, size).where(SampleRow.job_id == job_id).group_by(SampleRow.task)
        return {task: int(bytes_) for task, bytes_ in self._session.execute(query.order_by(SampleRow.task))}

    def tasks(self, job_id: UUID) -> list[str]:
        """Tasks that have lines."""
        query = select(SampleRow.task).where(SampleRow.job_id == job_id).distinct().order_by(SampleRow.task)
        return list(self._session.scalars(query))


@dataclass(frozen=True)
class JobLog:
    """What a job's log consists of: its own, the start of its replicas, and what these wrote on its chunks."""

    job_id: UUID
    loaded_at: Mapping[UUID, datetime | None]
    """Its replicas, each with the moment at which its start was over."""

    def pieces(self, seen: Mapping[UUID, int]) -> ColumnElement[bool]:
        """Those after the last one seen of each owner, as SQL."""
        starts = [self._start(replica, moment, seen) for replica, moment in self.loaded_at.items()]
        worked = [self._of(replica, self.job_id, seen) for replica in self.loaded_at]
        return or_(self._of(self.job_id, None, seen), *starts, *worked)

    def _start(self, replica: UUID, moment: datetime | None, seen: Mapping[UUID, int]) -> ColumnElement[bool]:
        pieces = self._of(replica, None, seen)
        return pieces if moment is None else and_(pieces, LogRow.at <= moment)

    def _of(self, owner: UUID, job_id: UUID | None, seen: Mapping[UUID, int]) -> ColumnElement[bool]:
        whose = LogRow.job_id.is_(None) if job_id is None else LogRow.job_id == job_id
        return and_(whose, LogRow.owner_id == owner, LogRow.number > seen.get(owner, 0))


class LogRepository:
    """Pieces of children's logs, whichever host wrote them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, owner_id: UUID, text: str, job_id: UUID | None = None) -> None:
        """Append a piece; `job_id` says for which job a replica worked when it wrote it."""
        values = {"owner_id": owner_id, "job_id": job_id, "text": text.replace("\x00", "")}
        self._session.execute(insert(LogRow).values(values))

    def after(self, log: JobLog, seen: Mapping[UUID, int], limit: int) -> list[LogPiece]:
        """Pieces of each owner after the last one seen of it, oldest first.

        One number for all would lose a piece that was numbered early and committed late: only the
        pieces of one owner, who has one writer, appear in the order of their numbers.
        """
        query = select(LogRow).where(log.pieces(seen)).order_by(LogRow.number).limit(limit)
        return [_to_piece(row) for row in self._session.scalars(query)]

    def last(self, log: JobLog, limit: int) -> list[LogPiece]:
        """The newest pieces, oldest first."""
        query = select(LogRow).where(log.pieces({})).order_by(LogRow.number.desc()).limit(limit)
        return [_to_piece(row) for row in reversed(self._session.scalars(query).all())]

    def lines(self, log: JobLog, text: str, most: int, width: int) -> list[str]:
        """The last lines that hold a text, in any case, oldest first; of a longer one what stands around the text."""
        holds = LogRow.text.icontains(text, autoescape=True)
        pieces = select(LogRow.number, LogRow.text).where(log.pieces({}), holds)
        newest = pieces.order_by(LogRow.number.desc()).limit(most).subquery()
        texts = func.string_to_table(newest.c.text, "\n")
        split = texts.table_valued("line", with_ordinality="place", joins_implicitly=True).render_derived()
        line = split.c.line
        begin = func.greatest(1, func.strpos(func.lower(line), func.lower(text)) - width // 2)
        found = (
            select(func.substr(line, begin, width))
            .select_from(newest, split)
            .where(line.icontains(text, autoescape=True))
            .order_by(newest.c.number.desc(), split.c.place.desc())
            .limit(most)
        )
        return list(self._session.scalars(found))[::-1]

    def size(self, owner_id: UUID) -> int:
        """Characters stored for an owner."""
        query = select(func.coalesce(func.sum(func.length(LogRow.text)), 0)).where(
            LogRow.owner_id == owner_id
        )
        return int(self._session.scalar(query) or 0)


def _condition(which: SampleFilter) -> ColumnElement[bool]:
    match which:
        case SampleFilter.ALL:
            return true()
        case SampleFilter.ERROR:
            return SampleRow.row.contains(ERROR_MARK)
        case SampleFilter.CORRECT | SampleFilter.INCORRECT:
            return SampleRow.correct.is_(which is SampleFilter.CORRECT)
        case SampleFilter.TRUNCATED:
            return SampleRow.truncated.is_(True)
        case SampleFilter.EMPTY:
            return SampleRow.empty.is_(True)
        case _:
            assert_never(which)


def _holds(search: SampleSearch | None) -> ColumnElement[bool]:
    """Lines are JSON: a text stands in them as JSON writes it."""
    if search is None:
        return true()
    written = json.dumps(search.text, ensure_ascii=False)[1:-1]
    return and_(SampleRow.position < search.before, SampleRow.row.icontains(written, autoescape=True))


def _to_piece(row: LogRow) -> LogPiece:
    return LogPiece(row.owner_id, row.number, row.text)
