"""What the leading scheduler does each turn; every step is safe to repeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.broker import Doorbell
from app.db.capacity import CapacityRepository
from app.db.chunks import ChunkRepository
from app.db.events import EventRepository
from app.db.foretold import ForetoldRepository
from app.db.ledger import LedgerRepository
from app.db.line import Attendance, LineRepository
from app.db.parked_jobs import ParkedJobRepository
from app.db.replicas import ReplicaRepository
from app.db.session import Sessions
from app.db.tallies import TallyRepository
from app.db.unheld_jobs import Stirs, UnheldJobRepository
from app.db.usage import UsageRepository
from app.domain.job import CANCELLED, LATE, LOST, PAUSED
from app.domain.line import MOST_TURNS, InLine, Sharing, in_line
from app.domain.placement import Policy, Release, Start, place
from app.domain.replica import ReplicaStatus
from app.domain.tally import Counted, Tallied
from app.services.demands import DemandReader
from app.services.jobs import utc_now
from app.services.retention import Ages, RetentionService, Sweeper
from app.settings import Settings

LINE_SECONDS = 5.0
"""After so long shares are looked at again though nobody came or went."""

MOST_STARTS = 256
"""Replicas that one turn starts, so that its transaction stays short; the next turn goes on."""

GOING_ON = "its coordinator was lost; going on from what is stored"
ANNOUNCE_AMONG = 50
"""Queued jobs that are announced at all: the others wait behind them."""


def policy(settings: Settings) -> Policy:
    """The operator's knobs as the placement rules take them."""
    return Policy(
        idle=timedelta(seconds=settings.idle_seconds),
        hold=timedelta(seconds=settings.hold_seconds),
        quotas=dict(settings.team_quotas),
    )


def sharing(settings: Settings) -> Sharing:
    """The operator's knobs as the line takes them."""
    return Sharing(
        half_life=timedelta(days=settings.share_half_life_days),
        weights=dict(settings.share_weights),
        entry=timedelta(seconds=settings.share_entry_seconds),
    )


class SchedulingService:
    """place_once, announce_once, expire_once, ...: the scheduler's turn, in short transactions."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        doorbell: Doorbell,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._sessions = sessions
        self._doorbell = doorbell
        self._settings = settings
        self._now = now
        self._attendance: Attendance | None = None
        self._line_due_at = 0.0
        self._demands = DemandReader()
        retention = RetentionService(sessions=sessions, settings=settings)
        self._sweeper = Sweeper(retention, Ages.of(settings))

    def at_rest(self) -> bool:
        """Whether every job has ended and no engine lives: nothing is to be placed, announced or expired then."""
        with self._sessions.begin() as session:
            return UnheldJobRepository(session).none_goes_on() and ReplicaRepository(session).none_lives()

    def line_up_once(self) -> int:
        """Say whose turn it is between the jobs of one priority; returns how many are in line."""
        rules = sharing(self._settings)
        with self._sessions.begin() as session:
            line = LineRepository(session)
            attendance = line.attendance()
            if not self._line_is_due(attendance):
                return attendance.jobs
            jobs = line.jobs()
            shared = len({(job.team, job.owner) for job in jobs}) > 1
            used = UsageRepository(session).lately(rules.half_life) if shared else {}
            wanted = in_line(self._estimated(jobs), used, rules, MOST_TURNS)
            turns = [job.id for job in wanted]
            if turns != [job.id for job in jobs[:MOST_TURNS]]:
                line.write(turns)
        return len(jobs)

    def _estimated(self, jobs: Sequence[InLine]) -> list[InLine]:
        """With what each still takes, as far as that is known."""
        expected = ((job, self._demands.expected(job.id, job.seconds)) for job in jobs)
        return [job if job.seconds == known else replace(job, seconds=known) for job, known in expected]

    def book_once(self) -> int:
        """Add to `usage` what replicas charged since the last time; how many charges."""
        with self._sessions.begin() as session:
            return UsageRepository(session).book()

    def settle_once(self) -> int:
        """Note when jobs began that were told when they would; how many did."""
        with self._sessions.begin() as session:
            return ForetoldRepository(session).settle()

    def _line_is_due(self, attendance: Attendance) -> bool:
        """When somebody came or went, and else every few seconds: what was used changes all the time."""
        if attendance == self._attendance and time.monotonic() < self._line_due_at:
            return False
        self._attendance, self._line_due_at = attendance, time.monotonic() + LINE_SECONDS
        return True

    def place_once(self) -> int:
        """Start and release replicas as the rules say; returns how many decisions were carried out."""
        rules = policy(self._settings)
        with self._sessions.begin() as session:
            groups = CapacityRepository(session).groups(self._settings.lease)
            # In this order: a job that goes on meanwhile is in either list or in both, and its engine is kept.
            early = self._demands.expect(session) if self._settings.early_start else []
            demand = self._demands.read(session, rules)
            replicas = ReplicaRepository(session)
            live = replicas.live()
            decisions = place(self._now(), groups, live, demand, rules, early=early)
            leaving = [each for each in decisions if isinstance(each, Release)]
            for each in leaving:
                replicas.release(each.replica, each.why)
            starts = [each for each in decisions if isinstance(each, Start)][:MOST_STARTS]
            started = [replicas.place(each) for each in starts]
        return len(leaving) + len(started) - started.count(None)

    def announce_once(self) -> int:
        """Ring for jobs and replicas that nobody has claimed; returns how many."""
        resend = timedelta(seconds=self._settings.resend_seconds)
        with self._sessions.begin() as session:
            placed = ReplicaRepository(session).announce(resend)
            jobs = ParkedJobRepository(session).announce(resend, ANNOUNCE_AMONG)
            jobs += UnheldJobRepository(session).announce(resend, ANNOUNCE_AMONG)
        for replica_id, group in placed:
            self._doorbell.ring_replica(replica_id, group)
        for job_id in jobs:
            self._doorbell.ring_job(job_id)
        return len(placed) + len(jobs)

    def expire_once(self) -> list[UUID]:
        """End leases that were not renewed: replicas are lost, their chunks and unheld jobs wait again."""
        with self._sessions.begin() as session:
            lost = ReplicaRepository(session).expire(timedelta(seconds=self._settings.resend_seconds))
            if lost:
                LedgerRepository(session).ended(lost, ReplicaStatus.LOST)
                TallyRepository(session).add(_expired("replica", lost))
                ChunkRepository(session).interrupt(lost)
                ChunkRepository(session).give_back(lost)
        with self._sessions.begin() as session:
            unheld = UnheldJobRepository(session)
            stirs = unheld.stirs()
            jobs = unheld.requeue_expired(GOING_ON) if stirs.expired else []
            TallyRepository(session).add(_expired("job", jobs))
            for job_id in jobs:
                EventRepository(session).append(
                    job_id, "job.retrying", {"reason": "its coordinator was lost"}
                )
            settled = _settle_waiting(session, replace(stirs, lost=stirs.lost or bool(jobs)))
        return [*lost, *jobs, *settled]

    def tidy_once(self) -> int:
        """Forget chunks of ended jobs, and add up what was counted; returns how many chunks."""
        with self._sessions.begin() as session:
            TallyRepository(session).fold()
            return ChunkRepository(session).drop_ended()

    def sweep_once(self) -> None:
        """Forget a piece of what is older than the operator keeps, if an hourly sweep is on its way."""
        self._sweeper.sweep_some()


def _expired(kind: str, held: Sequence[UUID]) -> list[Tallied]:
    return [Tallied(Counted.LEASE_EXPIRED, len(held), {"kind": kind})] if held else []


def _settle_waiting(session: Session, stirs: Stirs) -> list[UUID]:
    """Move the waiting jobs that nobody else would: those asked to stop first, then those late or lost too often."""
    unheld = UnheldJobRepository(session)
    moved: list[tuple[str, list[UUID], dict[str, Any]]] = [
        ("job.cancelled", unheld.cancel_asked() if stirs.cancelled else [], {"reason": CANCELLED}),
        ("job.paused", unheld.pause_asked() if stirs.paused else [], {"reason": PAUSED}),
        ("job.failed", unheld.fail_late() if stirs.late else [], {"error": LATE.to_json()}),
        ("job.failed", unheld.fail_lost() if stirs.lost else [], {"error": LOST.to_json()}),
    ]
    for event_type, jobs, data in moved:
        for job_id in jobs:
            EventRepository(session).append(job_id, event_type, data)
    return [job_id for _, jobs, _ in moved for job_id in jobs]
