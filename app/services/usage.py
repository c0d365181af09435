"""What devices were used for, and for whom."""

from __future__ import annotations

from app.db.session import Sessions
from app.db.usage import UsageRepository
from app.domain.usage import UsageFilter, UsageReport


class UsageService:
    """Reads only."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    def report(self, wanted: UsageFilter, limit: int) -> UsageReport:
        """At most so many sums; what replicas do now is in them within seconds, or when a chunk is answered."""
        with self._sessions.begin() as session:
            return UsageRepository(session).report(wanted, limit)
