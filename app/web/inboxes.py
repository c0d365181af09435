"""What readers of events have not taken yet. One that is not emptied in time forgets what it has: its reader goes on
from the database, where it was.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from uuid import UUID

from app.domain.event import EventPage, SerialEvent
from app.domain.job_filter import JobFilter
from app.services.job_view import Glance

MOST_WAITING = 1000
"""Events in one inbox; they are shared with the others."""


class Inbox:
    """What one reader has not taken yet. Of a database that was restored it holds nothing: positions went back."""

    def __init__(self, wanted: JobFilter | UUID) -> None:
        self.wanted = wanted
        """Which jobs, or the one."""
        self.since = 0
        """From here on everything is put in."""
        self.position = 0
        """Up to here all that it wants is in it, or was."""
        self.behind = False
        """More came than it holds: it is empty until it is begun anew."""
        self.look: Glance | None = None
        """Where the one job was when it was looked at."""
        self.gone = False
        """There is no such job any more."""
        self.waiting = False
        """Its reader has taken all there was."""
        self._events: deque[SerialEvent] = deque()
        self._woken = asyncio.Event()

    def begin(self, position: int) -> None:
        """Hold what comes after this."""
        self.since = self.position = position
        self.behind = False
        self._events.clear()

    def put(self, events: Collection[SerialEvent], position: int) -> None:
        """What was read up to a position, of what it wants."""
        self._events.extend(event for event in events if event.serial > self.since)
        if len(self._events) > MOST_WAITING or position < self.position:
            self.behind = True
        if self.behind:
            self._events.clear()
        else:
            self.position = position
        if events:
            self.wake()

    def see(self, look: Glance | None) -> None:
        """Where its job is now, None where it is gone; its reader looks where that is something new."""
        new = look != self.look or look is None
        self.look, self.gone = look, look is None
        if new:
            self.wake()

    def wake(self) -> None:
        """Let its reader look."""
        self._woken.set()

    async def take(self, patience_seconds: float) -> list[SerialEvent]:
        """What is in it, when something is or its reader is to look; nothing after that patience."""
        self.waiting = True
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._woken.wait()
        self.waiting = False
        self._woken.clear()
        taken = list(self._events)
        self._events.clear()
        return taken


class Inboxes:
    """Those of all readers, by what they want."""

    def __init__(self) -> None:
        self._of_jobs: dict[UUID, set[Inbox]] = {}
        self._of_all: set[Inbox] = set()

    def __iter__(self) -> Iterator[Inbox]:
        """Each of them."""
        yield from self._of_all
        for inboxes in self._of_jobs.values():
            yield from inboxes

    def __bool__(self) -> bool:
        """Whether anybody reads."""
        return bool(self._of_all or self._of_jobs)

    @property
    def jobs(self) -> Collection[UUID]:
        """Jobs that are read by themselves."""
        return self._of_jobs.keys()

    @property
    def tasks(self) -> set[str]:
        """Tasks that filters ask for."""
        return {
            each.wanted.task
            for each in self._of_all
            if isinstance(each.wanted, JobFilter) and each.wanted.task
        }

    def wants(self, job_id: UUID) -> bool:
        """Whether anybody may read this job's events."""
        return bool(self._of_all) or job_id in self._of_jobs

    def add(self, inbox: Inbox) -> None:
        """One more."""
        if isinstance(inbox.wanted, UUID):
            self._of_jobs.setdefault(inbox.wanted, set()).add(inbox)
        else:
            self._of_all.add(inbox)

    def remove(self, inbox: Inbox) -> None:
        """Its reader has gone."""
        if isinstance(inbox.wanted, UUID):
            left = self._of_jobs[inbox.wanted]
            left.discard(inbox)
            if not left:
                del self._of_jobs[inbox.wanted]
        self._of_all.discard(inbox)

    def put(self, page: EventPage, tasks: Collection[str]) -> None:
        """What was read, to everybody who wants it; whether its jobs have other tasks than these was not asked."""
        by_job = defaultdict(list)
        for event in page.events:
            by_job[event.job.id].append(event)
        for job_id, events in by_job.items():
            for inbox in self._of_jobs.get(job_id, ()):
                inbox.put(events, page.position)
        for inbox in self._of_all:
            if isinstance(wanted := inbox.wanted, JobFilter):
                if wanted.task and wanted.task not in tasks:
                    inbox.behind = True
                    inbox.wake()
                inbox.put([event for event in page.events if wanted.matches(event.job)], page.position)

    def see(self, looks: Mapping[UUID, Glance], looked_at: Collection[UUID]) -> None:
        """Where the jobs are that were looked at."""
        for job_id in looked_at:
            for inbox in self._of_jobs.get(job_id, ()):
                inbox.see(looks.get(job_id))
