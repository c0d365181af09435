"""How a person ends `evalq up`: once to stop in order, twice to stop at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from app.errors import EvalqError

PAUSE_SECONDS = 0.05


class StopAskedError(EvalqError):
    """Somebody asked to stop while something was awaited."""

    code = "stop_asked"


class StopRequest:
    """Set by SIGINT, SIGTERM and SIGHUP; the second signal means at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._hurried = threading.Event()

    @property
    def asked(self) -> bool:
        """Somebody wants us to end."""
        return self._asked.is_set()

    @property
    def hurried(self) -> bool:
        """Somebody does not want to wait for it."""
        return self._hurried.is_set()

    def listen(self) -> StopRequest:
        """Take the signals of this process."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.ask())
        return self

    def ask(self) -> None:
        """Ask to stop; ask again to hurry."""
        (self._hurried if self.asked else self._asked).set()

    def pause(self, seconds: float) -> None:
        """Wait, or less when asked to stop."""
        self._asked.wait(seconds)

    def wait_until(self, true: Callable[[], bool], within_seconds: float) -> bool:
        """Whether it became true in time; StopAskedError when asked to stop before."""
        deadline = time.monotonic() + within_seconds
        while not true():
            if self.asked:
                raise StopAskedError("stopped before it was ready")
            if time.monotonic() > deadline:
                return False
            self.pause(PAUSE_SECONDS)
        return True
