"""How many streams may be open in this process, of one key and of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from app.errors import BusyError, TooManyStreamsError
from app.settings import Settings

RETRY_SECONDS = 5


class Places:
    """Counts in memory. Lives on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.streams
        self._most_of_a_key = settings.key_streams
        self._taken: Counter[UUID | None] = Counter()

    @contextmanager
    def place(self, key_id: UUID | None) -> Iterator[None]:
        """One place of a key, or of those without keys; TooManyStreamsError or BusyError where none is left."""
        if key_id and self._most_of_a_key and self._taken[key_id] >= self._most_of_a_key:
            raise TooManyStreamsError(
                f"{self._most_of_a_key} streams of this key are open here, the most it may have (EVALQ_KEY_STREAMS):"
                " close one, or ask for the job itself now and then",
                RETRY_SECONDS,
            )
        if self._most and self._taken.total() >= self._most:
            raise BusyError(
                f"this process holds {self._most} streams open, the most it may (EVALQ_STREAMS): ask again,"
                " or ask for the job itself now and then",
                RETRY_SECONDS,
            )
        self._taken[key_id] += 1
        try:
            yield
        finally:
            self._taken[key_id] -= 1
            if not self._taken[key_id]:
                del self._taken[key_id]
