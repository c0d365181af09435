"""When jobs begin and end: the scheduler's rules run forward, once for everybody who asks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from app.db.capacity import CapacityRepository
from app.db.foretold import ForetoldRepository
from app.db.outstanding import OutstandingRepository
from app.db.paces import PaceRepository
from app.db.replicas import ReplicaRepository
from app.db.session import Sessions
from app.db.usage import UsageRepository
from app.domain.calibration import Calibration
from app.domain.demands import NOTHING_LEARNT, Learnt, merged, usual_speed
from app.domain.estimates import Estimates, Habits, Outstanding
from app.domain.forecast import Forecast, forecast
from app.domain.placement import holdups
from app.domain.virtual_cluster import Snapshot
from app.domain.virtual_work import JobWork
from app.errors import DatabaseError
from app.services.jobs import utc_now
from app.services.scheduling import policy, sharing
from app.settings import Settings

MOST_JOBS = 100
"""In line, of which it is told when they begin."""

MOST_BESIDE = 30
"""In line, beside which it is told when another one would begin: who asks waits for the answer."""

FRESH_SECONDS = 5.0
"""So long one forecast serves everybody who asks."""

SHARE = 0.1
"""Of the time, at most, that a process spends on forecasts."""

PATIENCE_SECONDS = 1.0
"""So long somebody waits for the first one, or after a time in which nobody asked."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seen:
    """What was read at one moment."""

    jobs: Sequence[Outstanding]
    learnt: Mapping[str, Learnt]
    habits: Habits
    ranges: Calibration
    there: Snapshot

    def work(self) -> list[JobWork]:
        usual, load = usual_speed(self.learnt.values()), self.there.policy.load
        own = (self.learnt.get(job.engine.key, NOTHING_LEARNT) for job in self.jobs)
        return [job.work(each, self.habits, load, usual) for job, each in zip(self.jobs, own, strict=True)]

    def told(self, work: Sequence[JobWork]) -> dict[UUID, Forecast]:
        found = forecast(self.there, work)
        return {
            job.line.id: job.told(found[job.line.id], self.habits)
            for job in self.jobs
            if job.line.id in found
        }


class EstimateService:
    """Looks anew on a thread of its own while somebody asks; writes nothing but what it told."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._settings = settings
        self._now = now
        self._clock = clock
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None
        self._due_at = float("-inf")
        self._known = Estimates(now())
        self._made_at = float("-inf")

    def latest(self) -> Estimates:
        """What was found last: seconds old while somebody asks, and empty where that takes long the first time."""
        with self._lock:
            due, looking = self._clock() >= self._due_at, self._looking
            if due and (looking is None or not looking.is_alive()):
                looking = self._looking = threading.Thread(target=self._look, daemon=True)
                looking.start()
            old = self._clock() - self._made_at > 2 * FRESH_SECONDS
        if due and old and looking:
            looking.join(PATIENCE_SECONDS)
        return self._known

    def close(self) -> None:
        """Return when nobody looks any more."""
        if self._looking is not None:
            self._looking.join()

    def _look(self) -> None:
        began = self._clock()
        try:
            self.look_once()
        except DatabaseError as error:
            log.warning("no new estimates: %s", error.details)
        except Exception:
            log.exception("no new estimates")
        self._due_at = self._clock() + max(FRESH_SECONDS, (self._clock() - began) / SHARE)

    def look_once(self) -> None:
        """Find out anew."""
        seen = self._seen()
        work, there = seen.work(), seen.there
        told = seen.told(work)
        asked = merged(
            replace(each.demand, turn=turn)
            for turn, (job, each) in enumerate(zip(seen.jobs, work, strict=True))
            if job.prepared
        )
        held_up = holdups(there.now, there.groups, there.replicas, asked, there.policy)
        ranged = {job_id: seen.ranges.widened(each) for job_id, each in told.items()}
        self._known, self._made_at = Estimates(there.now, ranged, held_up), self._clock()
        self._note(told, there.now)

    def would(self, job: Outstanding) -> Forecast | None:
        """When a job would begin and end that is submitted now; None where that is not known, or many are in line."""
        with self._sessions.begin() as session:
            if OutstandingRepository(session).count(MOST_BESIDE) == MOST_BESIDE:
                return None
        seen = self._seen(job)
        found = seen.told(seen.work()).get(job.line.id)
        return seen.ranges.widened(found) if found and found.start is not None else None

    def _seen(self, *more: Outstanding) -> _Seen:
        rules = sharing(self._settings)
        with self._sessions.begin() as session:
            outstanding = OutstandingRepository(session)
            jobs = [*outstanding.work(MOST_JOBS), *more]
            learnt = PaceRepository(session).learnt({job.engine.key for job in jobs})
            habits = outstanding.habits()
            used = UsageRepository(session).lately(rules.half_life)
            groups = CapacityRepository(session).groups(self._settings.lease)
            # What is begun early goes on: no job is told of whose requests are not there.
            live = [replace(each, early_for=None) for each in ReplicaRepository(session).live()]
            ranges = Calibration(ForetoldRepository(session).fared())
        there = Snapshot(self._now(), groups, live, policy(self._settings), rules, used)
        return _Seen(jobs, learnt, habits, ranges, there)

    def _note(self, told: Mapping[UUID, Forecast], now: datetime) -> None:
        """As it was before anything was learnt: how that fares is what is learnt from."""
        if told:
            with self._sessions.begin() as session:
                ForetoldRepository(session).note(told, now)
