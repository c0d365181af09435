"""Counts for good, a row for each thing that happened until the scheduler adds them up: no two writers meet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Select,
    Text,
    cast,
    delete,
    func,
    insert,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB
from sqlalchemy.orm import Session

from app.db.tables import ChargeRow, EventRow, JobRow, ReplicaRow, TallyRow
from app.domain.event import Event
from app.domain.job import JobStatus
from app.domain.replica import LIVE
from app.domain.tally import Counted, Tallied, ending, in_phases, is_first_claim, lasted

FOLD_AT = 1000
"""Rows, from which on they are added up: so few are read with every scrape."""

HOW_TOLD = "processed"
"""Engines tell what they read and what they generated as one number."""

COLUMNS = ("name", "labels", "bound", "times", "amount")


class TallyRepository:
    """Adds in the transaction of what is counted, so that nothing is counted twice or not at all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, tallies: Iterable[Tallied]) -> None:
        """Count these."""
        rows = [
            {
                "name": tally.what,
                "labels": dict(tally.labels),
                "bound": tally.bound,
                "times": tally.times,
                "amount": tally.amount,
            }
            for tally in tallies
        ]
        if rows:
            self._session.execute(insert(TallyRow), rows)

    def note_event(self, job_id: UUID, event_type: str, data: Mapping[str, Any]) -> None:
        """Count what a job's event, written before, tells: how long it waited, how it ended, where its time went."""
        if is_first_claim(event_type, data):
            waited = select(func.extract("epoch", JobRow.started_at - JobRow.created_at))
            seconds = self._session.scalar(waited.where(JobRow.id == job_id))
            self.add([lasted(Counted.QUEUE_WAIT, float(seconds or 0))])
        elif status := ending(event_type):
            self.add([self._finished(job_id, status, data), *self._phases(job_id)])

    def note_ended(self, replica_ids: Sequence[UUID]) -> None:
        """Count what these replicas did, which have just ended."""
        ended = ReplicaRow.id.in_(replica_ids)
        for each in (_requests(), _tokens()):
            self._session.execute(insert(TallyRow).from_select(list(COLUMNS), each.where(ended)))

    def fold(self) -> None:
        """Add up what can be, where there is much of it. Safe to repeat, and beside others."""
        if (self._session.scalar(select(func.count()).select_from(TallyRow)) or 0) <= FOLD_AT:
            return
        gone = delete(TallyRow).returning(*(getattr(TallyRow, name) for name in COLUMNS)).cte("gone")
        key = (gone.c.name, gone.c.labels, gone.c.bound)
        summed = select(*key, func.sum(gone.c.times), func.sum(gone.c.amount)).group_by(*key)
        self._session.execute(insert(TallyRow).from_select(list(COLUMNS), summed))

    def sums(self) -> list[Tallied]:
        """All counts, with what lives or is not booked yet: read at one moment, so that none of them falls."""
        live = ReplicaRow.status.in_(LIVE)
        kept = select(*(getattr(TallyRow, name) for name in COLUMNS))
        each = union_all(kept, _requests().where(live), _tokens().where(live), charged(ChargeRow)).subquery()
        key = (each.c.name, each.c.labels, each.c.bound)
        query = select(*key, func.sum(each.c.times), func.sum(each.c.amount)).group_by(*key)
        return [
            Tallied(Counted(name), float(amount), labels, bound, int(times))
            for name, labels, bound, times, amount in self._session.execute(query)
            if name in set(Counted)
        ]

    def _finished(self, job_id: UUID, status: JobStatus, data: Mapping[str, Any]) -> Tallied:
        backend = self._session.scalar(select(JobRow.engine["backend"].astext).where(JobRow.id == job_id))
        error = data.get("error")
        code = str(error["code"]) if isinstance(error, Mapping) else ""
        return Tallied(
            Counted.JOBS_FINISHED, labels={"status": status, "backend": backend or "", "code": code}
        )

    def _phases(self, job_id: UUID) -> list[Tallied]:
        told = select(EventRow).where(EventRow.job_id == job_id, EventRow.type != "job.progress")
        rows = self._session.scalars(told.order_by(EventRow.number))
        spent = in_phases(Event(row.number, row.at, row.type, row.data) for row in rows)
        return [lasted(Counted.PHASE, seconds, phase=phase) for phase, seconds in spent.items()]


def charged(rows: Any) -> Select[Any]:
    """Device seconds by outcome, as rows of tallies; of `usage` or what is to be booked there."""
    labels = func.jsonb_build_object("outcome", rows.outcome)
    return _account(Counted.GPU_SECONDS, labels, rows.seconds)


def _requests() -> Select[Any]:
    place = func.jsonb_build_object(
        "group", ReplicaRow.group_name, "backend", ReplicaRow.engine["backend"].astext
    )
    return _account(Counted.REQUESTS, place, ReplicaRow.requests_done)


def _tokens() -> Select[Any]:
    return _account(Counted.TOKENS, cast({"kind": HOW_TOLD}, JSONB), ReplicaRow.tokens_done)


def _account(what: Counted, labels: Any, done: Any) -> Select[Any]:
    """What replicas did, as rows of tallies."""
    return select(
        cast(literal(what.value), Text).label("name"),
        labels.label("labels"),
        cast(null(), DOUBLE_PRECISION).label("bound"),
        literal(1).label("times"),
        cast(done, DOUBLE_PRECISION).label("amount"),
    ).where(done > 0)
