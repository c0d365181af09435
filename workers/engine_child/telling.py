"""What an engine tells its supervisor while it works."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

from workers.protocol.engine import Died, FromEngine, Progressed, Warned

INTERVAL_SECONDS = 0.25


class Telling:
    """Counts what engines report, and tells of it at most four times a second."""

    def __init__(
        self, say: Callable[[FromEngine], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._clock = clock
        self._told_at = clock()
        self._answered: Counter[UUID] = Counter()
        self._tokens = 0

    def answered(self, chunk: UUID, count: int = 1) -> None:
        """So many more requests of a chunk are answered."""
        self._answered[chunk] += count
        self._tell()

    def begins(self, chunk: UUID) -> None:
        """Its requests count from none."""
        self._answered[chunk] = 0

    def over(self, chunk: UUID) -> None:
        """A chunk is in work no more."""
        del self._answered[chunk]

    def generated(self, tokens: int) -> None:
        """So many more tokens are generated."""
        self._tokens += tokens
        self._tell()

    def warn(self, chunk: UUID, code: str, change: str) -> None:
        """Something went wrong and was cured by this change."""
        self._say(Warned(chunk, code, change))

    def died(self, process: str, exit_code: int | None) -> None:
        """A process of the engine's own has ended. From any thread."""
        self._say(Died(process, exit_code))

    def _tell(self) -> None:
        now = self._clock()
        if now - self._told_at < INTERVAL_SECONDS:
            return
        self._told_at = now
        self._say(Progressed(tuple(self._answered.items()), self._tokens))
        self._tokens = 0
