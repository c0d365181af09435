"""How far a job is, task by task, and how fast."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from app.services.coordination import Progress
from workers.coordinator.rates import Rates


class Tally:
    """Counts requests that are done, and engine time; what changed is told once."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._rates = Rates()
        self._moved = False
        self._gpu_seconds = 0.0

    def prepare(self, totals: Mapping[str, int]) -> None:
        """The tasks and their requests."""
        self._totals = dict(totals)
        self._done = dict.fromkeys(totals, 0)

    def plan(self, tokens: float) -> None:
        """So much is to be answered by engines."""
        self._rates.plan(tokens)

    def begin(self) -> None:
        """Engines begin to answer, for the first time or again: the time until now says nothing of their pace."""
        self._rates.restart()

    def add_chunks(self, gpu_seconds: float, tokens: float, failed: float = 0.0) -> None:
        """Chunks that were answered, or that no engine could answer."""
        self._gpu_seconds += gpu_seconds
        self._rates.add_tokens(tokens, failed)

    def set_done(self, task: str, done: int | None = None) -> None:
        """So many of the task's requests are done; None means all."""
        count = self._totals[task] if done is None else done
        self._moved = self._moved or self._done.get(task) != count
        self._done[task] = count

    def news(self) -> tuple[Progress, dict[str, Any], float] | None:
        """Progress, the event that tells it, and GPU seconds since the last call; None where nothing changed."""
        if not (self._moved or self._gpu_seconds):
            return None
        done, total, gpu_seconds = sum(self._done.values()), sum(self._totals.values()), self._gpu_seconds
        rates = self._rates.at(time.monotonic(), done)
        data = {"done": done, "total": total, "percent": percent(done, total), "tasks": dict(self._done)}
        self._moved, self._gpu_seconds = False, 0.0
        return Progress(done, dict(self._done), rates), data | rates, gpu_seconds


def percent(done: int, total: int) -> float:
    """How much is done; all of nothing is all."""
    return round(100.0 * done / total, 1) if total else 100.0
