"""What people look at first: what the devices do and did, and how many jobs there are of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from app.db.listings import ListingRepository
from app.db.occupancies import OccupancyRepository
from app.db.replicas import ReplicaRepository
from app.db.session import Sessions
from app.domain.job import Job, JobStatus
from app.domain.job_filter import JobFilter, JobPart
from app.domain.occupancy import Occupied, occupied
from app.services.job_view import JobView, view_of

MOST_COUNTED = 10_000
"""Of the jobs that a filter chooses: what is beyond is not looked at."""


@dataclass(frozen=True)
class Counts:
    """How many jobs of each status a filter lets through, whatever status it names itself."""

    by_status: Mapping[JobStatus, int]
    bounded: bool
    """There are more."""

    @property
    def total(self) -> int:
        """Of all statuses."""
        return sum(self.by_status.values())


class OverviewService:
    """Reads only, within bounds."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    def occupied(self, since: datetime) -> list[Occupied]:
        """Replicas that hold devices, and those that gave them back since then, with the jobs of every team."""
        with self._sessions.begin() as session:
            lately = OccupancyRepository(session)
            replicas = [*lately.ended(since), *ReplicaRepository(session).live()]
            return occupied(replicas, lately.jobs(since, {each.engine.key for each in replicas}))

    def ended(self, since: datetime, team: str | None, limit: int, now: datetime) -> list[JobView]:
        """Jobs that ended since then, the latest first, with what came of them."""
        with self._sessions.begin() as session:
            ids = OccupancyRepository(session).ended_jobs(since, team, limit)
            jobs = ListingRepository(session).some(ids, (JobPart.ERROR, JobPart.TASKS))
        return [view_of(job, {}, now) for job in jobs]

    def some(self, job_ids: Sequence[UUID], team: str | None) -> list[Job]:
        """Those of the jobs that a team has, or that there are, as lists read them."""
        with self._sessions.begin() as session:
            jobs = ListingRepository(session).some(job_ids)
        return [job for job in jobs if team in {None, job.team}]

    def is_empty(self, team: str | None) -> bool:
        """Whether no job of a team is stored, or of anybody."""
        with self._sessions.begin() as session:
            return not OccupancyRepository(session).has_any(team)

    def counts(self, wanted: JobFilter) -> Counts:
        """For the tabs of a list."""
        any_status = replace(wanted, status=None)
        with self._sessions.begin() as session:
            found = OccupancyRepository(session).counts(any_status, MOST_COUNTED + 1)
        return Counts(found, any_status.chooses and sum(found.values()) > MOST_COUNTED)
