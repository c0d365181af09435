"""How far a job is, task by task, how fast it goes, and how long the rest takes at that pace."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.domain.headway import Headway, Level
from app.domain.replica import Replica
from app.domain.whereabouts import Engines
from app.services.coordination import Progress

WINDOW_SECONDS = 30.0
UNKNOWN: dict[str, float | None] = dict.fromkeys(("requests_per_second", "tokens_per_second", "eta_seconds"))


class Tally:
    """Counts requests that are done, and engine time; what changed is told once.

    A request is first counted where an engine is ahead of its chunk, then in a chunk that is not collected, then as
    given to the harness, and last as the harness counts it, once for every task that asked for it: from one place to
    the next it is never lost, and never counted twice.
    """

    def __init__(self, done: int = 0) -> None:
        """`done` is what the job showed before: it shows no less while its prompts are built again."""
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._given = 0
        self._level = Level(done)
        self._dead: list[Replica] = []
        self._ahead = Headway()
        self._rates = Rates()
        self._moved = False
        self._alive = False
        self._gpu_seconds = 0.0

    def prepare(self, totals: Mapping[str, int], done: Mapping[str, int] | None = None) -> None:
        """The tasks and their requests, and what was `done` of each before."""
        self._totals = dict(totals)
        self._done = {task: min((done or {}).get(task, 0), total) for task, total in totals.items()}
        self._level = Level(min(self._level.done, sum(totals.values())))

    def plan(self, tokens: float) -> None:
        """So much is to be answered by engines."""
        self._rates.plan(tokens)

    def begin(self) -> None:
        """Engines begin to answer, for the first time or again: the time until now says nothing of their pace."""
        self._rates.restart()

    def give(self, requests: int) -> None:
        """The harness was given the answers to so many requests, or told that there is none."""
        self._given += requests

    def give_alone(self, requests: int) -> None:
        """So many were answered while no harness counted them by task: those of a job of one task are its own."""
        self.give(requests)
        if requests and len(self._totals) == 1:
            ((task, total),) = self._totals.items()
            self.set_done(task, min(max(self._done[task], self._given), total))

    def add_chunks(self, gpu_seconds: float, tokens: float, failed: float = 0.0) -> None:
        """Chunks that were answered, or that no engine could answer."""
        self._gpu_seconds += gpu_seconds
        self._rates.add_tokens(tokens, failed)
        if tokens or failed:
            self._ahead, self._alive = Headway(), True

    def set_done(self, task: str, done: int | None = None) -> None:
        """So many of the task's requests are done; None means all."""
        count = self._totals[task] if done is None else done
        if self._done.get(task) != count:
            self._moved = self._alive = True
        self._done[task] = count

    @property
    def counted_on(self) -> frozenset[UUID]:
        """Replicas whose death would take along what was counted as done."""
        return self._level.counted_on

    def look(self, engines: Engines) -> None:
        """What engines have done of the chunks in their hands, read after what was collected was given on."""
        before, ahead = self._level, sum(engines.headway.values(), Headway())
        by = [replica_id for replica_id, headway in engines.headway.items() if headway.requests]
        dead = [replica for replica in engines.dead if replica.id in before.counted_on]
        known = self._known(ahead.requests + engines.uncollected)
        self._level = before.at(known, by, [replica.id for replica in dead])
        if self._level.done < before.done:
            self._dead += dead
            self._rates.restart()
        self._moved = self._moved or self._level.done != before.done or ahead != self._ahead
        self._alive = self._alive or self._level.done > before.done or ahead.cost > self._ahead.cost
        self._ahead = ahead

    def news(self) -> tuple[Progress, dict[str, Any], float] | None:
        """Progress, the event that tells it, and GPU seconds since the last call; None where nothing changed."""
        if not (self._moved or self._gpu_seconds):
            return None
        self._level = self._level.at(self._known(), (), ())
        done, total = self._level.done, sum(self._totals.values())
        rates = self._rates.at(time.monotonic(), done, self._ahead.cost)
        data = {"done": done, "total": total, "percent": percent(done, total), "tasks": dict(self._done)}
        news = Progress(done, dict(self._done), rates, self._alive, tuple(self._dead))
        gpu_seconds, self._gpu_seconds = self._gpu_seconds, 0.0
        self._moved, self._alive, self._dead = False, False, []
        return news, data | rates, gpu_seconds

    def _known(self, with_engines: int = 0) -> int:
        """Of what it was given the harness may have counted less, or more: what several tasks asked for, for each."""
        counted = max(sum(self._done.values()), self._given)
        return min(counted + with_engines, sum(self._totals.values()))


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

    def at(self, now: float, done: int, ahead: float = 0.0) -> dict[str, float | None]:
        """Requests and tokens a second, and seconds left, with `ahead` tokens of chunks that did not come back yet.

        None while nothing was measured: a job whose first request is still being answered has no requests a second.
        """
        self._points.append((now, done, self._tokens + ahead))
        while len(self._points) > 2 and self._is_old(now, done):
            self._points.popleft()
        since, before, tokens_before = self._points[0]
        seconds, tokens = now - since, self._tokens + ahead - tokens_before
        if seconds <= 0 or tokens <= 0:
            return dict(UNKNOWN)
        left = max(self._tokens_left - ahead, 0.0)
        return {
            "requests_per_second": round((done - before) / seconds, 2) if done > before else None,
            "tokens_per_second": round(tokens / seconds, 1),
            "eta_seconds": round(left / tokens * seconds, 1),
        }

    def _is_old(self, now: float, done: int) -> bool:
        """Whether the first point can go: the second is half a minute old, and something was answered since."""
        second, before, _ = self._points[1]
        return second < now - WINDOW_SECONDS and before < done


def percent(done: int, total: int) -> float:
    """How much is done; all of nothing is all."""
    return round(100.0 * done / total, 1) if total else 100.0
