"""The backends on this host: which are there for a group's devices, and whether they work on them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from app.backends import BACKENDS, installed, look_at
from app.backends.tolerances import that_hold
from app.domain.group import BackendReport
from app.settings import Settings

AGAIN_SECONDS = 600.0
"""A backend that did not work is looked at again: somebody may have mended its host."""

READ_SECONDS = 10.0
"""What was measured is read again: its folder may be shared, large and slow, and a worker asks ten times a second."""


class InstalledBackends:
    """What is installed is seen at every call, and looked into once, aside: a look may take minutes."""

    def __init__(
        self,
        settings: Settings,
        kind: str,
        names: Collection[str] = (),
        *,
        look: Callable[[str], BackendReport] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`names` are those of the devices."""
        self._settings = settings
        self._names = frozenset(names)
        self._kind = kind
        self._look = look or (lambda name: look_at(name, settings.cache_dir, kind))
        self._clock = clock
        self._seen: dict[str, tuple[float, BackendReport]] = {}
        self._told: dict[str, tuple[float, BackendReport, BackendReport]] = {}
        self._looking: threading.Thread | None = None

    def reports(self) -> list[BackendReport]:
        """Those that were looked into: at the first call all that are there, a new one at a later call."""
        names = self._there()
        self._seen = {name: self._seen[name] for name in names if name in self._seen}
        if due := [name for name in names if self._is_due(name)]:
            self._start(due)
        return [self._with_tolerances(self._seen[name][1]) for name in names if name in self._seen]

    def _with_tolerances(self, report: BackendReport) -> BackendReport:
        """With what was measured for it so far, by whomever."""
        now = self._clock()
        at, bare, told = self._told.get(report.name, (-math.inf, report, report))
        if bare is not report or now - at >= READ_SECONDS:
            told = replace(report, tolerances=that_hold(report, self._names, self._settings.cache_dir))
            self._told[report.name] = now, report, told
        return told

    def _there(self) -> list[str]:
        return sorted(
            name
            for name in installed(self._settings.cache_dir)
            if self._kind in BACKENDS[name].devices and BACKENDS[name].allowed(self._settings)
        )

    def _is_due(self, name: str) -> bool:
        if name not in self._seen:
            return True
        at, report = self._seen[name]
        return report.problem is not None and self._clock() - at >= AGAIN_SECONDS

    def _start(self, names: Sequence[str]) -> None:
        first = self._looking is None
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(target=self._look_into, args=(names,), daemon=True)
            self._looking.start()
        if first:
            self._looking.join()

    def _look_into(self, names: Sequence[str]) -> None:
        for name in names:
            self._seen = {**self._seen, name: (self._clock(), self._look(name))}
