"""An engine's log, kept apart by whom it worked for: the lines of one job are never another's."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from workers.gpu_worker.backlog import Hand
from workers.supervision.log_tail import LogTail

PIECE_BYTES = 1 << 16
TAIL_LINES = 20
LOOK_SECONDS = 1.0

Store = Callable[[str, UUID | None], object]


class EngineLog:
    """Stores what the engine writes while it starts, then what it writes while it works on a job's chunks.

    With every chunk the engine says how far its log goes. While chunks of several jobs are in its hands nothing is
    read beyond that: it is not known yet whose it is. What it writes without work is left out.
    """

    def __init__(self, tail: LogTail, hand: Hand, store: Store) -> None:
        self._tail = tail
        self._hand = hand
        self._store = store
        self._starting = True
        self._looked_at = 0.0
        self._chunk_at = 0
        """Where the lines of the chunk begin that the engine works on."""
        self._unsure = 0
        """Chunks of which it may have told the ends before the file was emptied."""

    def look(self) -> None:
        """Store what is new, at most a piece a second, where it is known whose it is."""
        owners, now = self._owners(), time.monotonic()
        if len(owners) == 1 and now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._keep(owners.pop())

    def loaded(self) -> None:
        """The engine has started: what it says of that is stored."""
        self._keep_all(None, self._tail.size())
        self._starting = False
        self.begin()

    def begin(self) -> None:
        """The engine is given work, and had none until now."""
        self._chunk_at = self._tail.skip()

    def end(self, job_id: UUID, log_end: int) -> None:
        """A chunk of this job left the engine's hands, and its lines end there."""
        alone = self._hand.jobs == {job_id}
        if self._unsure:
            self._unsure -= 1
            self._chunk_at = self._chunk_at if alone else self._tail.skip()
            return
        self._chunk_at = log_end
        if not alone:
            self._keep_all(job_id, log_end)

    def close(self, guilty: UUID | None) -> None:
        """The engine has ended: the rest is stored, as the guilty job's if it ended on one."""
        owners = {guilty} if guilty else self._owners()
        if len(owners) == 1:
            self._keep_all(owners.pop(), self._tail.size())

    def last_lines(self, job_id: UUID | None = None, log_end: int | None = None) -> tuple[str, ...]:
        """The last ones of the chunk of this job, or of the start."""
        if self._unsure and self._hand.jobs - {job_id}:
            return ()
        return tuple(self._tail.tail(TAIL_LINES, start=self._chunk_at, end=log_end))

    def text(self) -> str:
        """What the engine wrote since it began to start, or its chunk."""
        return self._tail.head(start=self._chunk_at)

    def _owners(self) -> set[UUID | None]:
        """Whom the engine may be writing for; None for itself."""
        return {None} if self._starting else set(self._hand.jobs)

    def _keep_all(self, owner: UUID | None, end: int) -> None:
        emptied = self._tail.emptied
        while self._tail.emptied == emptied and self._keep(owner, end):
            pass

    def _keep(self, owner: UUID | None, end: int | None = None) -> bool:
        """Store the next piece, if there is one."""
        emptied = self._tail.emptied
        text = self._tail.read_new(PIECE_BYTES, ended=end is not None, until=end)
        if self._tail.emptied != emptied:
            self._chunk_at, self._unsure = 0, len(self._hand.claimed)
        if text:
            self._store(text, owner)
        return bool(text)
