"""The queue: which jobs wait, for what, at which place, behind whom, and until when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from uuid import UUID

from app.db.jobs import JobRepository
from app.db.listings import ListingRepository
from app.db.session import Sessions
from app.db.waits import WaitRepository
from app.domain.ahead import Queued, Rank, Why, ranks, why
from app.domain.estimates import Estimates, unknown
from app.domain.forecast import Forecast
from app.domain.job import Job
from app.domain.line import InLine
from app.domain.phrases import none_leads
from app.domain.waits import Wait
from app.services.job_view import STALL, JobView, view_of
from app.services.jobs import utc_now
from app.services.whereabouts import NO_QUOTAS, waits

SHOWN = 3
"""Jobs ahead that are named."""

NO_SCHEDULER = "no job gets devices until a scheduler leads"
NO_BROKER = "the broker does not answer: coordinators and workers do not hear of new work until it does"


@dataclass(frozen=True)
class Standing:
    """Where a job stands in the line, and the first of those ahead of it that its reader may see."""

    rank: Rank
    first: tuple[tuple[UUID, Why], ...]


@dataclass(frozen=True)
class Waiting:
    """A job that waits."""

    job: Job
    position: int
    wait: Wait
    standing: Standing | None
    """None where it is put aside: then nobody is ahead of it."""
    estimate: Forecast | None = None


@dataclass(frozen=True)
class GoingOn:
    """Running jobs that stand in no line, or whose engines load; the oldest of them."""

    views: Sequence[JobView]
    total: int


@dataclass(frozen=True)
class QueuePage:
    """A part of the queue."""

    waiting: Sequence[Waiting]
    total: int
    """Jobs that wait, on all pages."""
    troubles: Sequence[str]
    """In words, what keeps all of them waiting."""
    next_position: int | None


@dataclass(frozen=True)
class _Line:
    """Everybody who waits, as one reader may see them."""

    standing: Sequence[Queued]
    ranks: Sequence[Rank]
    aside: Sequence[UUID]
    seen: Sequence[tuple[int, InLine]]
    """By position, those of the line that the reader may see."""

    @classmethod
    def read(cls, known: WaitRepository, sees: str | None) -> _Line:
        line, aside = known.line()
        seen = [(at, each.job) for at, each in enumerate(line, 1) if sees in {None, each.job.team}]
        return cls(line, ranks(line), aside, seen)

    @property
    def ids(self) -> list[UUID]:
        return [*(each.job.id for each in self.standing), *self.aside]

    def at(self, position: int) -> Standing | None:
        """None behind the line."""
        if position > len(self.standing):
            return None
        job = self.standing[position - 1]
        ahead = takewhile(lambda each: each[0] < position, self.seen[:SHOWN])
        return Standing(self.ranks[position - 1], tuple((first.id, why(first, job)) for _, first in ahead))


class QueueService:
    """Reads only."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        ttl: timedelta,
        estimates: Callable[[], Estimates] = unknown,
        quotas: Mapping[str, int] = NO_QUOTAS,
        rings: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = utc_now,
        stall: timedelta = STALL,
    ) -> None:
        self._stall = stall
        self._estimates = estimates
        self._quotas = quotas
        self._rings = rings
        self._sessions = sessions
        self._ttl = ttl
        self._now = now

    def going_on(self, limit: int, team: str | None = None) -> GoingOn:
        """What runs and does not wait, of a team or of all."""
        now = self._now()
        with self._sessions.begin() as session:
            known = WaitRepository(session)
            ids, total = known.going_on(team, limit)
            jobs = ListingRepository(session).some(ids)
            rates = JobRepository(session).rates(ids)
            found = waits(known, jobs, self._ttl, now, self._quotas, told=self._estimates())
        views = [view_of(job, rates[job.id], now, wait=found.get(job.id), stall=self._stall) for job in jobs]
        return GoingOn(views, total)

    def page(self, limit: int, after: int = 0, sees: str | None = None) -> QueuePage:
        """Jobs that wait, for whatever it is, in the order they are served, from behind a position on.

        The jobs ahead are named to a reader who sees those of one team, or of all. The queue moves while it is read.
        """
        told = self._estimates()
        with self._sessions.begin() as session:
            known = WaitRepository(session)
            line = _Line.read(known, sees)
            ids = line.ids
            position = {job_id: at for at, job_id in enumerate(ids, 1)}
            jobs = ListingRepository(session).some(ids[after : after + limit])
            found = waits(known, jobs, self._ttl, self._now(), self._quotas, told=told)
            leads, led_at = known.leads(), known.led_at()
        now = self._now()
        waiting = [
            Waiting(job, position[job.id], found[job.id], line.at(position[job.id]), told.of(job.id, now))
            for job in jobs
            if job.id in found
        ]
        scheduler = [] if leads else [f"{NO_SCHEDULER}: {none_leads(led_at)}"]
        troubles = [*scheduler, *([] if self._rings() else [NO_BROKER])] if ids else []
        more = after + limit < len(ids)
        return QueuePage(waiting, len(ids), troubles, after + limit if more else None)
