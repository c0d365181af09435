"""An engine's log, kept apart by whom it worked for: the lines of one job are never another's."""

from __future__ import annotations

import time
from collections.abc import Callable, Set
from uuid import UUID

from workers.gpu_worker.backlog import Backlog
from workers.supervision.log_tail import LogTail

PIECE_BYTES = 1 << 16
TAIL_LINES = 20
LOOK_SECONDS = 1.0

Store = Callable[[str, UUID | None], object]


class EngineLog:
    """Stores what the engine writes while it starts, then what it writes while it works for one job.

    With every chunk that is settled the engine says how far its log goes. While chunks of several jobs are in its
    hands nothing is read beyond that: it is not known yet whose it is. Lines that may be of several jobs are left out,
    and so is what it writes without work.
    """

    def __init__(self, tail: LogTail, backlog: Backlog, store: Store) -> None:
        self._tail = tail
        self._backlog = backlog
        self._store = store
        self._starting = True
        self._looked_at = 0.0
        self._begin_at = 0
        """Where the lines begin that nothing was settled after."""
        self._unsure: frozenset[UUID] = frozenset()
        """Chunks of which it may have told the ends before the file was emptied."""

    def look(self) -> None:
        """Store what is new, at most a piece a second, where it is known whose it is."""
        owners, now = self._owners(), time.monotonic()
        if len(owners) == 1 and now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            if text := self._next():
                self._store(text, *owners)

    def loaded(self) -> None:
        """The engine has started: what it says of that is stored."""
        self._keep_all({None}, self._tail.size())
        self._starting = False
        self._begin_at = self._tail.skip()

    def before(self, job_id: UUID) -> None:
        """A chunk of this job is about to be sent: what is written by now is not its."""
        if not len(self._backlog):
            self._begin_at = self._tail.skip()
        elif self._backlog.window and self._backlog.jobs != {job_id}:
            self._keep_all({*self._backlog.jobs}, self._tail.size())

    def end(self, chunk_id: UUID, writers: Set[UUID], log_end: int) -> None:
        """A chunk left the engine's hands; lines up to there may be of these jobs."""
        goes_on = self._backlog.jobs == writers and len(writers) == 1
        if chunk_id in self._unsure:
            self._unsure -= {chunk_id}
            self._begin_at = self._begin_at if goes_on else self._tail.skip()
            return
        self._begin_at = log_end
        if not goes_on:
            self._keep_all({*writers}, log_end)

    def close(self, writers: Set[UUID]) -> None:
        """The engine has ended, while it worked for these jobs: the rest is stored, where there is one."""
        self._keep_all({None} if self._starting else {*writers}, self._tail.size())

    def last_lines(self, writers: Set[UUID], log_end: int | None = None) -> tuple[str, ...]:
        """The last ones of the start, or of what the engine is at for a job; none where they may be of several."""
        if len(writers) > 1 or (self._unsure and self._backlog.jobs - writers):
            return ()
        return tuple(self._tail.tail(TAIL_LINES, start=self._begin_at, end=log_end))

    def text(self) -> str:
        """What the engine wrote since it began to start, or since the last chunk was settled, whoever for."""
        return self._tail.head(start=self._begin_at)

    def _owners(self) -> Set[UUID | None]:
        """Whom the engine may be writing for; None for itself."""
        return {None} if self._starting else {*self._backlog.jobs}

    def _keep_all(self, owners: Set[UUID | None], end: int) -> None:
        """Store what is there up to a place, or leave it out if it may be of several."""
        emptied = self._tail.emptied
        while self._tail.emptied == emptied and (text := self._next(end)):
            if len(owners) == 1:
                self._store(text, *owners)

    def _next(self, end: int | None = None) -> str:
        """The next piece, if there is one."""
        emptied = self._tail.emptied
        text = self._tail.read_new(PIECE_BYTES, ended=end is not None, until=end)
        if self._tail.emptied != emptied:
            self._begin_at, self._unsure = 0, frozenset(self._backlog.ids)
        return text
