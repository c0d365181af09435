"""What else people use: each job gets its GPUs for as long as it lasts, and loads its own engine."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping

from benchmarks.scheduling.traces import HOST, Arrival, Trace

Ends = dict[int, float]
"""When each job ended, by its number in the trace; a job that could not run is missing."""


def fifo(trace: Trace) -> Ends:
    """In the order in which they came; who is first in line waits, and everybody behind."""
    return _Queue(trace, backfill=False).ends()


def fifo_easy(trace: Trace) -> Ends:
    """The same, but later jobs go ahead where they are thought to be done before the first one can begin."""
    return _Queue(trace, backfill=True).ends()


def one_at_a_time(trace: Trace) -> Ends:
    """Each job on all GPUs."""
    free_at, ends = 0.0, {}
    for number, job in enumerate(trace.arrivals):
        free_at = max(free_at, job.after) + _takes(job, trace.gpus)
        ends[number] = free_at
    return ends


def static_groups(trace: Trace) -> Ends:
    """Hosts cut into 4 + 2 + 1 + 1, one in four left whole; each job takes the part that is free first and will do."""
    free = [(0.0, size) for size in _parts(trace.gpus)]
    ends: Ends = {}
    for number, job in enumerate(trace.arrivals):
        parts = [part for part in free if part[1] >= job.gpus]
        if parts:
            part = min(parts, key=lambda part: (max(part[0], job.after), part[1]))
            free.remove(part)
            ends[number] = max(part[0], job.after) + _takes(job, part[1])
            free.append((ends[number], part[1]))
    return ends


def _parts(gpus: int) -> Iterable[int]:
    for host in range(gpus // HOST):
        yield from (HOST,) if host % 4 == 3 else (4, 2, 1, 1)


def _takes(job: Arrival, gpus: int) -> float:
    return job.work.load_seconds + job.work.seconds / max(gpus // job.gpus, 1)


class _Queue:
    """One pool of GPUs, whatever host they are in; jobs on one replica of the least width."""

    def __init__(self, trace: Trace, *, backfill: bool) -> None:
        self._jobs = list(enumerate(trace.arrivals))
        self._free = trace.gpus
        self._backfill = backfill
        self._running: list[tuple[float, float, int]] = []
        """When it ends, when it is thought to, and its GPUs."""
        self._ends: Ends = {}

    def ends(self) -> Ends:
        """Run it all."""
        waiting: list[tuple[int, Arrival]] = []
        coming = self._jobs[::-1]
        now = 0.0
        while coming or waiting:
            while coming and coming[-1][1].after <= now:
                waiting.append(coming.pop())
            self._begin(waiting, now)
            now = min([coming[-1][1].after] if coming else [], default=float("inf"))
            if self._running and self._running[0][0] <= now:
                now, _, gpus = heapq.heappop(self._running)
                self._free += gpus
        return self._ends

    def _begin(self, waiting: list[tuple[int, Arrival]], now: float) -> None:
        while waiting and waiting[0][1].gpus <= self._free:
            self._start(*waiting.pop(0), now)
        if not waiting or not self._backfill:
            return
        begins, spare = self._reservation(waiting[0][1].gpus, now)
        for each in list(waiting[1:]):
            _, job = each
            ends = now + job.work.load_seconds + job.thought
            if job.gpus <= self._free and (ends <= begins or job.gpus <= spare):
                spare -= 0 if ends <= begins else job.gpus
                waiting.remove(each)
                self._start(*each, now)

    def _start(self, number: int, job: Arrival, now: float) -> None:
        self._free -= job.gpus
        ends = now + _takes(job, job.gpus)
        heapq.heappush(self._running, (ends, now + job.work.load_seconds + job.thought, job.gpus))
        self._ends[number] = ends

    def _reservation(self, gpus: int, now: float) -> tuple[float, int]:
        """When the first in line is thought to begin, and how many GPUs it leaves then."""
        free = self._free
        for _, thought, freed in sorted(self._running, key=lambda each: max(each[1], now)):
            free += freed
            if free >= gpus:
                return max(thought, now), free - gpus
        return float("inf"), 0


POLICIES: Mapping[str, Callable[[Trace], Ends]] = {
    "FIFO": fifo,
    "FIFO + EASY": fifo_easy,
    "static groups": static_groups,
    "one at a time": one_at_a_time,
}
