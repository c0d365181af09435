"""A spare: a child of a backend that has imported what takes long, and waits for a replica."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.backends import environment_path, installed_at
from app.domain.ids import uuid7
from app.settings import Settings
from workers.gpu_worker.group import EngineCommand
from workers.protocol.channel import Channel
from workers.protocol.engine import FROM_SPARE, BackendImported, ImportBackend, ToEngine
from workers.supervision.child import Child
from workers.supervision.child_bounds import engine_bounds
from workers.supervision.environment import child_environment
from workers.supervision.janitor import Mark
from workers.supervision.log_tail import LogTail

LISTEN_SECONDS = 0.01
MOST_SILENT_SECONDS = 1.0
"""In the midst of a message: replicas that begin wait meanwhile."""

AGAIN_SECONDS = 30.0
MOST_AGAIN_SECONDS = 3600.0
"""After a spare that failed the next one is started later, from time to time twice as late."""


@dataclass
class Spare:
    """`ready` once it has imported its backend."""

    id: UUID
    backend: str
    child: Child
    command: EngineCommand
    installation: int
    """Which one of its backend it was started from: there may be another one by now."""
    log_path: Path
    ready: bool = False

    @classmethod
    def start(cls, backend: str, command: EngineCommand, settings: Settings, worker: str) -> Spare:
        """Start one that begins to import; `worker` holds it. Raises ChildStartError or OSError."""
        spare_id, found = uuid7(), installation(backend, settings)
        log_path = settings.data_dir / "logs" / "replicas" / f"spare-{spare_id}.log"
        child = Child.start(
            command.argv,
            env=child_environment(os.environ, settings.child_env, command.env),
            log_path=log_path,
            mark=Mark.spare(spare_id, worker),
            bounds=engine_bounds(settings),
        )
        child.connection.limit_silence(MOST_SILENT_SECONDS)
        spare = cls(spare_id, backend, child, command, found, log_path)
        with suppress(OSError):  # it has ended already, and is looked at like any other
            spare._wire.send(ImportBackend(backend, str(settings.cache_dir)))
        return spare

    @property
    def _wire(self) -> Channel[ToEngine, BackendImported]:
        return Channel(self.child.connection, FROM_SPARE)

    def hear(self) -> BackendImported | None:
        """What it says, if it has said anything; OSError or ValueError where that is nothing."""
        with suppress(TimeoutError):
            return self._wire.receive(LISTEN_SECONDS)
        return None

    def live_until(self, moment: float) -> None:
        """It ends by itself then; until then its log is none of those that are old."""
        self.child.live_until(moment)
        with suppress(OSError):
            os.utime(self.log_path)

    def write_to(self, log_path: Path) -> None:
        """Its log, with all that is in it and will be, is a replica's from now on."""
        with suppress(OSError):  # there is none: the disk was full
            self.log_path.replace(log_path)

    def last_words(self) -> str:
        """The last line of its log."""
        return next(iter(LogTail(self.log_path).tail(1)), "it wrote nothing")

    def end(self) -> None:
        """Kill it, and forget what it wrote."""
        self.child.kill()
        self.child.connection.close()
        self.log_path.unlink(missing_ok=True)


class Starts:
    """When a backend, as it is installed, may have its next spare: after each one that failed later."""

    def __init__(self, installation: int) -> None:
        self.installation = installation
        self._failures = 0
        self._at = -math.inf

    def may(self, now: float) -> bool:
        """Whether it is time."""
        return now >= self._at

    def failed(self, now: float) -> None:
        """One ended by itself, or could not be started."""
        self._at = max(self._at, now + min(AGAIN_SECONDS * 2**self._failures, MOST_AGAIN_SECONDS))
        self._failures += 1

    def never(self) -> None:
        """The backend is unfit."""
        self._at = math.inf

    def taken(self) -> None:
        """One was of use."""
        self._failures = 0


def installation(backend: str, settings: Settings) -> int:
    """Which one of a backend is there now."""
    return installed_at(environment_path(backend, settings.cache_dir))
