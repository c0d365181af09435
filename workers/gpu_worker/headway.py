"""How far an engine is inside the chunks in its hands, as it tells, written for their jobs to see."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from app.domain.chunk import Chunk
from app.domain.headway import Headway
from app.errors import DatabaseUnreachableError
from workers.protocol.engine import Progressed

WRITE_SECONDS = 1.0

log = logging.getLogger(__name__)


class HeadwayLog:
    """Hears of every chunk in hand, and writes what changed, all at once and at most once a second.

    Nothing hangs on what it writes: where the database is away it says so and tries again a second later.
    """

    def __init__(
        self, write: Callable[[Mapping[UUID, Headway]], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._written_at = -math.inf
        self._known: dict[UUID, Headway] = {}
        self._written: dict[UUID, Headway] = {}

    def hear(self, message: Progressed, in_hand: Iterable[Chunk]) -> None:
        """The engine told how far it is; of chunks that are not in hand it tells nothing new."""
        answered = dict(message.answered)
        chunks = {chunk.id: chunk for chunk in in_hand}
        known = answered.keys() & chunks.keys()
        open_ = {each: max(len(chunks[each].keys) - answered[each], 0) for each in known}
        each_tokens = message.tokens / max(sum(open_.values()), 1)
        for chunk_id, requests in open_.items():
            before, chunk = self._known.get(chunk_id, Headway()), chunks[chunk_id]
            self._known[chunk_id] = before.further(chunk, answered[chunk_id], each_tokens * requests)

    def write(self, in_hand: Iterable[Chunk]) -> None:
        """Write what changed, if the last time is long enough ago; a chunk that left its hands begins anew."""
        ids, now = {chunk.id for chunk in in_hand}, self._clock()
        for told in (self._known, self._written):
            for gone in told.keys() - ids:
                del told[gone]
        news = {
            each: known for each, known in self._known.items() if known != self._written.get(each, Headway())
        }
        if not news or now - self._written_at < WRITE_SECONDS:
            return
        self._written_at = now
        try:
            self._write(news)
        except DatabaseUnreachableError as error:
            log.warning("how far the engine is could not be written: %s", error)
        else:
            self._written |= news
