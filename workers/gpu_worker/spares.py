"""The spares of a worker: for each backend a child that has imported what takes long, for a replica to come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol
from uuid import UUID

from app.domain.replica import Replica
from app.errors import ChildStartError
from app.settings import Settings
from workers.gpu_worker.group import EngineCommand
from workers.gpu_worker.spare import Spare, Starts, installation
from workers.supervision.identity import holder_name
from workers.supervision.janitor import kill_orphans

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
IMPORT_LOOK_SECONDS = 0.2
IMPORT_SECONDS = 600.0
"""An import that takes longer is given up: minutes are usual where a network folder is cold."""

FENCE_SECONDS = 180.0
"""So long a spare outlives the last look of a worker that is frozen: longer than a start and some ends in one look."""


class Commands(Protocol):
    """A worker's group, as far as spares need it."""

    offered: frozenset[str]
    """Backends that work on its devices."""

    @property
    def slots(self) -> int | None:
        """How many CPU slots it has, where those are its devices."""

    def spare_command(self, backend: str) -> EngineCommand:
        """How to start an engine child before its devices are known."""


class SpareEngines:
    """Used by replicas from any thread; kept by one.

    There is a spare of a backend while replicas of it are here, and `EVALQ_IDLE_SECONDS` from the last one's end or
    from the worker's begin. None is started while a replica loads, nor while replicas hold all slots of a CPU: both
    would want the same cores.
    """

    def __init__(
        self, *, devices: Commands, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._devices = devices
        self._settings = settings
        self._clock = clock
        self._holder = holder_name()
        self._lock = threading.Lock()
        self._spares: dict[str, Spare] = {}
        self._starts: dict[str, Starts] = {}
        self._used_at: dict[str, float] = {}
        self._living: dict[UUID, Replica] = {}
        self._loading: set[UUID] = set()
        self._importing_until = 0.0
        self._stir = threading.Event()

    @property
    def ready(self) -> set[str]:
        """The backends of which one waits to be taken."""
        return {spare.backend for spare in self._all() if spare.ready}

    def begins(self, replica: Replica) -> None:
        """A replica's engine is about to load."""
        with self._lock:
            self._living[replica.id] = replica
            self._loading.add(replica.id)

    def take(self, replica: Replica, command: EngineCommand) -> Spare | None:
        """A spare that, told of its devices, is what the command would start; one that still imports is ended."""
        backend = replica.engine.backend
        with self._lock:
            spare = self._spares.get(backend)
            if spare is None or (spare.ready and not self._fits(spare, replica, command)):
                return None
            del self._spares[backend]
            if spare.ready:
                self._starts_of(backend).taken()
                return spare
        spare.end()
        return None

    def loaded(self, replica_id: UUID) -> None:
        """It has loaded, or never will. Safe to repeat."""
        with self._lock:
            self._loading.discard(replica_id)
        self.wake()

    def ended(self, replica_id: UUID) -> None:
        """A replica is over."""
        with self._lock:
            self._used_at[self._living.pop(replica_id).engine.backend] = self._clock()
        self.loaded(replica_id)

    def run(self, stop: threading.Event) -> None:
        """Keep spares until told to stop, and `wake`d; then there are none."""
        try:
            kill_orphans()
        except TimeoutError as error:
            log.warning("%s", error)
        while not stop.is_set():
            try:
                self.step()
            except Exception:  # without this thread there would be no spares, and nobody told why
                log.exception("no look at spares")
            importing = any(not spare.ready for spare in self._all())
            self._stir.wait(IMPORT_LOOK_SECONDS if importing else LOOK_SECONDS)
            self._stir.clear()
        self.close()

    def wake(self) -> None:
        """Have a look now."""
        self._stir.set()

    def step(self) -> None:
        """End spares that are of no use, and start one that is missing."""
        for spare in self._all():
            self._look_at(spare)
        backend = self._missing()
        if backend is not None:
            self._start(backend)

    def close(self) -> None:
        """End all. Safe to repeat."""
        for spare in self._all():
            with self._lock:
                ours = self._spares.pop(spare.backend, None)
            if ours is not None:
                ours.end()

    def _all(self) -> list[Spare]:
        with self._lock:
            return list(self._spares.values())

    def _fits(self, spare: Spare, replica: Replica, command: EngineCommand) -> bool:
        """Whether nothing of its start would be otherwise."""
        same = not replica.engine.env and command.starts_like(spare.command)
        return same and spare.child.alive and self._is_of_now(spare)

    def _is_of_now(self, spare: Spare) -> bool:
        return spare.installation == installation(spare.backend, self._settings)

    def _look_at(self, spare: Spare) -> None:
        """Keep it, or let it go: quietly where nobody wants it, with a delay for the next one where it failed."""
        now = self._clock()
        with self._lock:
            if self._spares.get(spare.backend) is not spare:
                return
            trouble = self._trouble(spare, now)
            if trouble is None and self._wanted(spare.backend, now):
                spare.live_until(now + FENCE_SECONDS)
                return
            del self._spares[spare.backend]
        if trouble is not None:
            self._failed(spare.backend, f"{trouble}: {spare.last_words()}")
        spare.end()

    def _trouble(self, spare: Spare, now: float) -> str | None:
        if not spare.child.alive:
            return f"it ended with {spare.child.exit_status}"
        if spare.ready:
            return None
        try:
            said = spare.hear()
        except (OSError, ValueError) as error:
            return f"it cannot be heard ({error})"
        if said is not None and said.touched:
            self._starts_of(spare.backend).never()
            return "its import has started the GPU driver"
        spare.ready = said is not None
        return None if spare.ready or now < self._importing_until else "its import takes too long"

    def _wanted(self, backend: str, now: float) -> bool:
        """Whether it is of use: it works here, as it is installed now, and was used lately."""
        spare = self._spares.get(backend)
        if backend not in self._devices.offered:
            self._used_at.pop(backend, None)  # once it is there again, it is new
            return False
        if spare is not None and not self._is_of_now(spare):
            return False
        used_at = self._used_at.setdefault(backend, now)
        lives = any(replica.engine.backend == backend for replica in self._living.values())
        return lives or now - used_at < self._settings.idle_seconds

    def _missing(self) -> str | None:
        """A backend that should have a spare, if now is the time to start one."""
        if not self._settings.spare_engines:
            return None
        now = self._clock()
        with self._lock:
            if self._no_core_is_free() or not all(spare.ready for spare in self._spares.values()):
                return None
            return next(self._due(now), None)

    def _no_core_is_free(self) -> bool:
        """While a replica loads; and where slots stand for cores, while each of them is held."""
        held = sum(len(replica.devices) for replica in self._living.values())
        return bool(self._loading) or (self._devices.slots is not None and held >= self._devices.slots)

    def _due(self, now: float) -> Iterator[str]:
        for backend in sorted(self._devices.offered - self._spares.keys()):
            if self._wanted(backend, now) and self._starts_of(backend).may(now):
                yield backend

    def _starts_of(self, backend: str) -> Starts:
        """Those of what is installed now: what was made anew may work."""
        there = installation(backend, self._settings)
        if backend not in self._starts or self._starts[backend].installation != there:
            self._starts[backend] = Starts(there)
        return self._starts[backend]

    def _start(self, backend: str) -> None:
        try:
            spare = Spare.start(backend, self._devices.spare_command(backend), self._settings, self._holder)
        except (OSError, ChildStartError) as error:
            self._failed(backend, str(error))
            return
        spare.live_until(self._clock() + FENCE_SECONDS)
        with self._lock:
            self._importing_until = self._clock() + IMPORT_SECONDS
            late = bool(self._loading)
            if not late:
                self._spares[backend] = spare
        if late:
            spare.end()

    def _failed(self, backend: str, why: str) -> None:
        log.warning("a spare of %s failed: %s", backend, why)
        self._starts_of(backend).failed(self._clock())
