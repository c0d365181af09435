"""How fast a job goes, over the last half minute."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 30.0


class Rates:
    """Remembers (time, requests done, tokens done); all times are of one monotonic clock."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, float]] = deque()
        self._tokens = 0.0

    def start(self, now: float, done: int) -> None:
        """Count from here: what is done already cost no time."""
        self._points = deque([(now, done, self._tokens)])

    def add_tokens(self, tokens: float) -> None:
        """Tokens of chunks that were answered."""
        self._tokens += tokens

    def at(self, now: float, done: int, total: int) -> dict[str, float | None]:
        """Requests and tokens a second, and seconds left; None while nothing was measured."""
        self._points.append((now, done, self._tokens))
        while len(self._points) > 2 and self._points[1][0] < now - WINDOW_SECONDS:
            self._points.popleft()
        since, before, tokens = self._points[0]
        seconds = now - since
        if seconds <= 0 or done <= before:
            return {"requests_per_second": None, "tokens_per_second": None, "eta_seconds": None}
        speed = (done - before) / seconds
        return {
            "requests_per_second": round(speed, 2),
            "tokens_per_second": round((self._tokens - tokens) / seconds, 1),
            "eta_seconds": round((total - done) / speed, 1),
        }
