"""How fast a job goes, over the last half minute, and how long the rest takes at that pace."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 30.0
UNKNOWN: dict[str, float | None] = dict.fromkeys(("requests_per_second", "tokens_per_second", "eta_seconds"))


class Rates:
    """Remembers (time, requests done, tokens done); all times are of one monotonic clock.

    The longest chunks come first: what is left is counted in tokens, which take about the same time each.
    """

    def __init__(self) -> None:
        self._points: deque[tuple[float, int, float]] = deque()
        self._tokens = 0.0
        self._tokens_left = 0.0

    def plan(self, tokens: float) -> None:
        """So much is to be answered by engines."""
        self._tokens_left = tokens

    def restart(self) -> None:
        """Measure anew from the next answer on: until then engines load, or do not work for this job."""
        self._points.clear()

    def add_tokens(self, answered: float, failed: float = 0.0) -> None:
        """Tokens of chunks that came back."""
        self._tokens += answered
        self._tokens_left = max(self._tokens_left - answered - failed, 0.0)

    def at(self, now: float, done: int) -> dict[str, float | None]:
        """Requests and tokens a second, and seconds left; None while nothing was measured."""
        self._points.append((now, done, self._tokens))
        while len(self._points) > 2 and self._points[1][0] < now - WINDOW_SECONDS:
            self._points.popleft()
        since, before, tokens_before = self._points[0]
        seconds, tokens = now - since, self._tokens - tokens_before
        if seconds <= 0 or done <= before or tokens <= 0:
            return dict(UNKNOWN)
        return {
            "requests_per_second": round((done - before) / seconds, 2),
            "tokens_per_second": round(tokens / seconds, 1),
            "eta_seconds": round(self._tokens_left / tokens * seconds, 1),
        }
