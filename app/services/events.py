"""Events of all jobs, for lists and for streams."""

from __future__ import annotations

from collections.abc import Collection

from app.db.all_events import AllEventsRepository
from app.db.session import Sessions
from app.domain.event import EventPage
from app.domain.job_filter import JobFilter

MOST_SCANNED = 10_000
"""Serials behind the first one that a page looks at, so that it ends with a filter that few jobs pass, too."""
ALL = JobFilter()


class EventService:
    """Reads only."""

    def __init__(self, *, sessions: Sessions) -> None:
        self._sessions = sessions

    def position(self) -> int:
        """Where a reader begins that wants what happens from now on."""
        with self._sessions.begin() as session:
            return AllEventsRepository(session).settled()[0]

    def page(
        self,
        after: int,
        limit: int,
        wanted: JobFilter = ALL,
        *,
        tasks: Collection[str] = (),
        known: int = 0,
    ) -> EventPage:
        """The next events of these jobs; there may be more behind fewer than `limit`, or behind none.

        `known` is a position that somebody reached before: it is settled, though a writer that has just begun may
        hide that. One that was never reached, in a database that was restored, is taken for the present one.
        """
        with self._sessions.begin() as session:
            events = AllEventsRepository(session)
            settled, drawn = events.settled()
            settled = max(settled, min(known, drawn))
            if after >= settled:
                return EventPage([], settled if after > drawn else after, more=False)
            first = events.first(after) or settled
            upto = min(settled, first - 1 + MOST_SCANNED)
            found = events.between(after, upto, limit, wanted, tasks)
        if len(found) == limit:
            return EventPage(found, found[-1].serial, more=True)
        return EventPage(found, upto, more=upto < settled)
