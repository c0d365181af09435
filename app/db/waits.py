"""What there is and who has it, read at one moment: from it is told what jobs wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Float, and_, case, cast, exists, func, or_, select, true
from sqlalchemy.orm import Session

from app.db.capacity import CapacityRepository
from app.db.histories import HistoryRepository
from app.db.leader import leads, led_at
from app.db.line import in_line
from app.db.replicas import ReplicaRepository
from app.db.tables import ChunkRow, JobRow, ReplicaRow
from app.db.wishes import is_due, may_be_answered_in
from app.domain.ahead import Queued
from app.domain.chunk import PENDING, ChunkStatus
from app.domain.job import JobStatus, Phase
from app.domain.line import InLine
from app.domain.replica import LIVE, ReplicaStatus
from app.domain.waits import Cluster, Served

LATELY_SECONDS = 60.0
"""So long a failed engine is named beside what is tried in its place."""


class WaitRepository:
    """Reads only."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def cluster(self, alive_within: timedelta, engine_keys: Collection[str]) -> Cluster:
        """Groups, live replicas with the jobs whose requests they have, and which of these engines failed lately."""
        lately = HistoryRepository(self._session).failed_lately(list(engine_keys), LATELY_SECONDS)
        return Cluster(
            groups=CapacityRepository(self._session).groups(alive_within),
            replicas=ReplicaRepository(self._session).live(),
            served=self._served(),
            failed=[replica for replica, _ in lately],
            leads=self.leads(),
            led_at=led_at(self._session),
        )

    def leads(self) -> bool:
        """Whether a scheduler leads."""
        return leads(self._session)

    def led_at(self) -> datetime | None:
        """When one that led was heard of last."""
        return led_at(self._session)

    def _served(self) -> dict[UUID, tuple[Served, ...]]:
        in_hand = select(ChunkRow.replica_id, ChunkRow.job_id).where(ChunkRow.status == ChunkStatus.CLAIMED)
        pairs = in_hand.distinct().subquery()
        query = select(pairs.c.replica_id, JobRow.id, JobRow.team).join(pairs, pairs.c.job_id == JobRow.id)
        found: dict[UUID, list[Served]] = defaultdict(list)
        for replica_id, job_id, team in self._session.execute(query.order_by(JobRow.id)):
            found[replica_id].append(Served(job_id, team))
        return {replica_id: tuple(jobs) for replica_id, jobs in found.items()}

    def line(self) -> tuple[list[Queued], list[UUID]]:
        """Jobs of which nothing goes on, in the order they are served, and behind them those put aside.

        Put aside are those that wait for what the cluster lacks, and last those that wait for their users.
        """
        lacks = and_(JobRow.status == JobStatus.QUEUED, JobRow.waits_for.is_not(None))
        aside = case((JobRow.status == JobStatus.PAUSED, 2), (lacks, 1), else_=0)
        told = cast(JobRow.rates["eta_seconds"].astext, Float)
        left = case((JobRow.phase == Phase.EVALUATING, told), else_=None)
        columns = (JobRow.id, JobRow.team, JobRow.owner, JobRow.priority, JobRow.created_at, left)
        query = select(aside, JobRow.turn.is_not(None), *columns).where(_waits()).order_by(aside, *in_line())
        rows = self._session.execute(query).all()
        line = [Queued(InLine(*row[2:]), row[1]) for row in rows if not row[0]]
        return line, [row.id for row in rows if row[0]]

    def going_on(self, team: str | None, limit: int) -> tuple[list[UUID], int]:
        """The first running jobs that do not wait in line, or whose engines load, and how many there are."""
        wanted = (_goes_on(), JobRow.team == team if team else true())
        query = select(JobRow.id).where(*wanted).order_by(JobRow.created_at, JobRow.id).limit(limit)
        count = self._session.scalar(select(func.count()).select_from(JobRow).where(*wanted))
        return list(self._session.scalars(query)), count or 0

    def unanswered(self, job_ids: Collection[UUID]) -> set[UUID]:
        """Those of the jobs of which requests wait to be taken by an engine, and no live one has any in hand."""
        waiting = exists().where(ChunkRow.job_id == JobRow.id, ChunkRow.status == ChunkStatus.WAITING)
        in_hand = exists().where(
            ChunkRow.job_id == JobRow.id,
            ChunkRow.status == ChunkStatus.CLAIMED,
            ReplicaRow.id == ChunkRow.replica_id,
            ReplicaRow.status.in_(LIVE),
        )
        query = select(JobRow.id).where(JobRow.id.in_(job_ids), waiting, ~in_hand)
        return set(self._session.scalars(query))

    def answered(self, job_ids: Collection[UUID]) -> set[UUID]:
        """Those of the jobs of which all requests were stored, and engines have answered each."""
        pending = exists().where(ChunkRow.job_id == JobRow.id, ChunkRow.status.in_(PENDING))
        query = select(JobRow.id).where(JobRow.id.in_(job_ids), JobRow.planned_at.is_not(None), ~pending)
        return set(self._session.scalars(query))


def _waits() -> ColumnElement[bool]:
    """Nobody works on the job: it waits for a coordinator, for engines, for its turn on them, or for its user."""
    running = and_(JobRow.status == JobStatus.RUNNING, or_(_waits_for_engines(), _is_lost()))
    return or_(JobRow.status.in_([JobStatus.QUEUED, JobStatus.PAUSED]), running, is_due())


def _goes_on() -> ColumnElement[bool]:
    """Somebody works on the job, loads its engines, or is about to stop it as its user asked."""
    stops = or_(JobRow.cancel_requested_at.is_not(None), JobRow.pause_requested_at.is_not(None))
    held_up = and_(_waits_for_engines(), ~stops, ~_loads())
    told = (each.is_not(true()) for each in (held_up, _is_lost(), is_due()))
    return and_(JobRow.status == JobStatus.RUNNING, *told)


def _loads() -> ColumnElement[bool]:
    """The job has engines where it may, and none of them serves yet."""

    def has(*which: ReplicaStatus) -> ColumnElement[bool]:
        own = (ReplicaRow.engine_key == JobRow.engine_key, may_be_answered_in(ReplicaRow.group_name))
        return exists().where(*own, ReplicaRow.status.in_(which))

    return and_(has(ReplicaStatus.PLACED, ReplicaStatus.LOADING), ~has(ReplicaStatus.SERVING))


def _is_lost() -> ColumnElement[bool]:
    return JobRow.lease_expires_at < func.now()


def _waits_for_engines() -> ColumnElement[bool]:
    return or_(JobRow.phase.in_([Phase.WAITING_FOR_GPU, Phase.LOADING]), _waits_its_turn())


def _waits_its_turn() -> ColumnElement[bool]:
    """There were engines for the job, and all that is left of it waits."""

    def has(status: ChunkStatus) -> ColumnElement[bool]:
        return exists().where(ChunkRow.job_id == JobRow.id, ChunkRow.status == status)

    evaluating = JobRow.phase == Phase.EVALUATING
    return and_(evaluating, has(ChunkStatus.WAITING), ~has(ChunkStatus.CLAIMED))
