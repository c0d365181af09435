"""For which jobs an engine may load before their requests are there, as conditions."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select
from sqlalchemy.orm import aliased

from app.db.tables import JobRow, ReplicaRow, ResponseRow
from app.db.wishes import goes_on
from app.domain.job import JobStatus, Phase
from app.domain.replica import LIVE, ReplicaStatus

UNTRIED = timedelta(minutes=10)
"""So long after an engine failed none is started early: who has requests for it finds out whether it loads now."""

MOST_ALIKE = 8
"""Jobs that asked the same and are looked at, the newest: there may be thousands."""


def prepares() -> ColumnElement[bool]:
    """Jobs whose coordinator has their prompts built, the first time or again for another engine."""
    place = and_(JobRow.status == JobStatus.RUNNING, JobRow.phase == Phase.PREPARING)
    return and_(place, JobRow.parked_at.is_(None), goes_on())


def has_early_engine() -> ColumnElement[bool]:
    """Jobs that a live engine was started early for, the one that they ask for now."""
    return exists().where(*_own(), ReplicaRow.status.in_(LIVE))


def _own() -> tuple[ColumnElement[bool], ...]:
    return (ReplicaRow.early_for == JobRow.id, ReplicaRow.engine_key == JobRow.engine_key)


def may_start_early() -> ColumnElement[bool]:
    """Once for each engine that a job asks for, unless it failed just now or everything is likely answered.

    Once more for a job that is prepared, where what it had in line was gone by then.
    """
    there_since = func.coalesce(JobRow.started_at, ReplicaRow.placed_at)
    own = (*_own(), func.coalesce(ReplicaRow.ended_at, func.now()) >= there_since)
    failed = (
        ReplicaRow.engine_key == JobRow.engine_key,
        ReplicaRow.status.in_([ReplicaStatus.FAILED, ReplicaStatus.LOST]),
        ReplicaRow.ended_at > func.now() - UNTRIED,
    )
    return ~or_(exists().where(*own), exists().where(*failed), _is_answered())


def _is_answered() -> ColumnElement[bool]:
    """Whether jobs that asked the same succeeded, and answers under the fingerprint of one of some are still kept."""
    other = aliased(JobRow)
    succeeded = literal(JobStatus.SUCCEEDED.value, literal_execute=True)  # as their index says it
    same = (other.questions == JobRow.questions, other.status == succeeded)
    lately = select(other.fingerprint).where(*same).order_by(other.created_at.desc())
    some = lately.correlate(JobRow).limit(MOST_ALIKE).subquery()
    kept = select(ResponseRow.key).where(ResponseRow.fingerprint == some.c.fingerprint)
    # In order, that is by their index: where there are none it would else be read of all that they are not among them.
    first = kept.order_by(ResponseRow.fingerprint, ResponseRow.key).limit(1)
    return select(some.c.fingerprint).where(first.scalar_subquery().is_not(None)).exists()
