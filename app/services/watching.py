"""Why jobs that somebody watches are where they are, reckoned for all of them together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from app.db.listings import ListingRepository
from app.db.session import Sessions
from app.db.waits import WaitRepository
from app.domain.estimates import Estimates, unknown
from app.domain.waits import reason
from app.services.job_view import Glance
from app.services.jobs import utc_now
from app.services.whereabouts import NO_QUOTAS, waits


class WatchService:
    """Reads only."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        ttl: timedelta,
        estimates: Callable[[], Estimates] = unknown,
        quotas: Mapping[str, int] = NO_QUOTAS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._sessions = sessions
        self._ttl = ttl
        self._estimates = estimates
        self._quotas = quotas
        self._now = now

    def looks(self, job_ids: Collection[UUID]) -> dict[UUID, Glance]:
        """Each of these jobs; one that is gone is left out."""
        told = self._estimates()
        with self._sessions.begin() as session:
            jobs = ListingRepository(session).some(list(job_ids))
            found = waits(WaitRepository(session), jobs, self._ttl, self._now(), self._quotas, told=told)
        return {
            job.id: Glance(reason(job, found.get(job.id)), job.reason, over=job.status.terminal)
            for job in jobs
        }
