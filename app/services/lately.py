"""What was read a moment ago, for those who ask again at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MOST_KEPT = 100


class Lately(Generic[Key, Value]):
    """Keeps values by key for so many seconds; 0 keeps none. Threads that read at the same time each read."""

    def __init__(
        self, read: Callable[[Key], Value], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[Key, tuple[float, Value]] = {}

    def get(self, key: Key) -> Value:
        """What was read within those seconds, or is read now."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept[0] < self._seconds:
            return kept[1]
        return self.anew(key)

    def anew(self, key: Key) -> Value:
        """What is read now."""
        asked_at, value = self._clock(), self._read(key)
        if len(self._kept) >= MOST_KEPT:
            self._kept = {}
        self._kept[key] = (asked_at, value)
        return value
