"""What jobs wait for and wish of engines, as conditions that claims, the scheduler and the histories share."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Integer, SQLColumnExpression, Text, and_, case, cast, func, or_

from app.db.tables import JobRow
from app.domain.job import TERMINAL, JobStatus, Phase


def can_be_claimed() -> ColumnElement[bool]:
    """Jobs that a coordinator may take: what they need is there, as far as can be known."""
    return and_(JobRow.status == JobStatus.QUEUED, JobRow.waits_for.is_(None))


def is_parked() -> ColumnElement[bool]:
    """Running jobs that wait for engines without a coordinator's place."""
    return and_(JobRow.status == JobStatus.RUNNING, JobRow.parked_at.is_not(None))


def is_due() -> ColumnElement[bool]:
    """Parked jobs that a coordinator may take: nobody keeps them any more, since their harness has something to do."""
    return and_(is_parked(), JobRow.due_at.is_not(None), JobRow.lease_token.is_(None))


def goes_on() -> ColumnElement[bool]:
    """Jobs that nobody asked to stop, and that are not late."""
    return and_(
        JobRow.cancel_requested_at.is_(None),
        JobRow.pause_requested_at.is_(None),
        or_(JobRow.deadline_at.is_(None), JobRow.deadline_at > func.now()),
    )


def wants_answers() -> ColumnElement[bool]:
    """Jobs whose chunks may be given out: they run, nobody asked them to stop, and they are not late."""
    return and_(JobRow.status == JobStatus.RUNNING, JobRow.phase != Phase.PREPARING, goes_on())


def has_stopped() -> ColumnElement[bool]:
    """Jobs whose chunks are worked on for nothing; one whose coordinator was lost is none of them."""
    return or_(
        JobRow.status.in_([*TERMINAL, JobStatus.PAUSED]),
        JobRow.cancel_requested_at.is_not(None),
        JobRow.pause_requested_at.is_not(None),
        and_(JobRow.deadline_at.is_not(None), JobRow.deadline_at <= func.now()),
    )


def group_wish() -> ColumnElement[str | None]:
    """The only group that may answer the job; null where any may."""
    return func.jsonb_extract_path_text(JobRow.plan, "group", type_=Text)


def may_be_answered_in(group: SQLColumnExpression[str]) -> ColumnElement[bool]:
    """Whether replicas of this group may answer the job."""
    return or_(group_wish().is_(None), group_wish() == group)


def replicas_wish() -> ColumnElement[int | None]:
    """How many replicas may answer the job at once; null where the work decides."""
    number = func.jsonb_typeof(JobRow.plan["replicas"]) == "number"
    return case((number, cast(JobRow.plan["replicas"].astext, Integer)), else_=None)
