"""Looks at the GPU many times a second, as NVML shows it, beside whatever else goes on."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from app.gpus.nvml import discover

INTERVAL_SECONDS = 0.03


@dataclass(frozen=True)
class Look:
    """The GPU at one moment (seconds since the epoch)."""

    at: float
    used_bytes: int
    utilization_percent: int


class Watch:
    """Looks from enter to exit at the GPU of this UUID; without one it sees nothing."""

    def __init__(self, uuid: str | None) -> None:
        self._uuid = uuid
        self._looks: list[Look] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        if self._uuid is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        if self._uuid is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(INTERVAL_SECONDS):
            now = time.time()
            for gpu in discover():
                if gpu.uuid == self._uuid:
                    self._looks.append(Look(now, gpu.memory_used_bytes, gpu.utilization_percent or 0))

    def below(self, used_bytes: int, since: float) -> float | None:
        """The first moment after `since` with no more memory in use than this; None where none was seen."""
        return next(
            (look.at for look in self._looks if look.at > since and look.used_bytes <= used_bytes), None
        )

    def peak_gib(self, since: float = 0.0, until: float = float("inf")) -> float | None:
        """The most memory seen in use, GiB."""
        used = [look.used_bytes for look in self._between(since, until)]
        return round(max(used) / 2**30, 2) if used else None

    def utilization(self, since: float, until: float) -> float | None:
        """Mean utilization, percent."""
        seen = [look.utilization_percent for look in self._between(since, until)]
        return round(statistics.mean(seen), 1) if seen else None

    def _between(self, since: float, until: float) -> list[Look]:
        return [look for look in self._looks if since <= look.at <= until]
