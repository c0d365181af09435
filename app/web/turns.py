"""Turns: a few bodies are read and checked at a time, beside the event loop; the rest of the service goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from app.errors import BusyError

T = TypeVar("T")

MOST_WAITING = 100
"""Bodies in the house: each holds its memory while it waits."""
LARGE_BYTES = 64 * 1024
RETRY_SECONDS = 5


class Turns:
    """Lets two small bodies and a large one be worked on at once; the rest wait. Lives on one event loop."""

    def __init__(self) -> None:
        self._small = CapacityLimiter(2)
        self._large = CapacityLimiter(1)
        self._aside = CapacityLimiter(1)
        self._taken = 0

    async def take(self, size_bytes: int, work: Callable[[], T]) -> T:
        """What `work` gives, in a thread, when it is its turn; BusyError where too many wait already."""
        if self._taken >= MOST_WAITING:
            raise BusyError(
                f"{MOST_WAITING} requests are being checked here, the most there may be: send it again in a moment",
                RETRY_SECONDS,
            )
        self._taken += 1
        try:
            limiter = self._large if size_bytes > LARGE_BYTES else self._small
            return await to_thread.run_sync(work, limiter=limiter)
        finally:
            self._taken -= 1

    async def aside(self, work: Callable[[], T]) -> T:
        """What `work` gives, one after the other: what takes long, and no body that is sent should wait for."""
        return await to_thread.run_sync(work, limiter=self._aside)
