"""Keeps a lease alive, and gives it up by its own clock before anyone else may take over.

What counts is the moment *before* the last successful renewal was asked for: the lease ran from there.
A renewal that hangs cannot delay the fence: renewing and watching are two threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, TypeVar

from app.asking import as_here

log = logging.getLogger(__name__)

Reply = TypeVar("Reply")


class Heartbeat(Generic[Reply]):
    """Renews a lease every sixth of its time to live, and calls `on_lost` once when it is lost.

    `renew` returns the answer, or None where the lease is no longer ours; an exception means unknown, and is
    tried again. `claimed_at` is `clock()` from before the claim. `on_extended` hears the new fence, a
    moment of the clock. `reply` is the latest answer.
    """

    def __init__(
        self,
        renew: Callable[[], Reply | None],
        *,
        ttl: timedelta,
        on_lost: Callable[[], object],
        claimed_at: float | None = None,
        on_extended: Callable[[float], object] = lambda _moment: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._renew = renew
        self._on_lost = on_lost
        self._on_extended = on_extended
        self._clock = clock
        self._interval = ttl.total_seconds() / 6
        self._allowance = (ttl - fence_margin(ttl)).total_seconds()
        self._renewed_at = clock() if claimed_at is None else claimed_at
        self._over = threading.Event()
        self._lost = False
        self._deciding = threading.Lock()
        self.reply: Reply | None = None

    @property
    def lost(self) -> bool:
        """Whether the lease was given up; then nothing more may be written."""
        return self._lost

    @property
    def fence_at(self) -> float:
        """The moment of the clock at which the lease is given up unless renewed."""
        return self._renewed_at + self._allowance

    def step(self) -> float | None:
        """Renew once; the seconds until the next turn, or None when there is none."""
        if self.watch() is None:
            return None
        asked_at = self._clock()
        try:
            reply = self._renew()
        except Exception:
            log.exception("a lease could not be renewed; trying again")
        else:
            self._take(reply, asked_at)
        return None if self.watch() is None else self._interval

    def watch(self) -> float | None:
        """Give the lease up if the fence is reached; the seconds until then, or None when it is over."""
        left = self.fence_at - self._clock()
        if left <= 0 and not self._over.is_set():
            self._lose("was not renewed in time")
        return None if self._over.is_set() else left

    def start(self) -> None:
        """Renew and watch in threads of their own until stopped or lost."""
        for turn in (self.step, self.watch):
            threading.Thread(
                target=as_here(self._repeat), args=(turn,), name=f"lease-{turn.__name__}", daemon=True
            ).start()

    def stop(self) -> None:
        """Renew no more; the lease is not lost by it. Safe to repeat."""
        self._over.set()

    def _repeat(self, turn: Callable[[], float | None]) -> None:
        delay = turn()
        while delay is not None and not self._over.wait(delay):
            delay = turn()

    def _take(self, reply: Reply | None, asked_at: float) -> None:
        if reply is None:
            self._lose("is held by someone else")
        elif self._clock() < self.fence_at:
            self.reply = reply
            self._renewed_at = asked_at
            self._on_extended(self.fence_at)

    def _lose(self, reason: str) -> None:
        with self._deciding:
            if self._over.is_set():
                return
            self._lost = True
            self._over.set()
        log.error("the lease %s: giving it up", reason)
        self._on_lost()


def fence_margin(ttl: timedelta) -> timedelta:
    """How long before its end a lease is given up: 15 s, or a quarter of a short one."""
    return min(timedelta(seconds=15), ttl / 4)
