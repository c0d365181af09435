"""The line to an engine child: what it says, what it is told, and how long its silence is borne."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import TypeAlias

from app.settings import Settings
from workers.protocol.channel import Channel
from workers.protocol.engine import FROM_ENGINE, FromEngine, ToEngine
from workers.protocol.frames import Connection


class Silence(Enum):
    """What is heard where no message comes."""

    QUIET = "quiet"
    """Nothing for a moment."""
    STALLED = "stalled"
    """Nothing for so long that it is given up, though it has something to do."""
    GONE = "gone"
    """The line is cut, or carries what is no message."""


Heard: TypeAlias = FromEngine | Silence


class EngineLine:
    """The supervisor's end. Whatever becomes of the engine, hearing and telling do not raise."""

    def __init__(
        self, connection: Connection, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        connection.limit_silence(settings.stall_seconds)
        self._channel: Channel[ToEngine, FromEngine] = Channel(connection, FROM_ENGINE)
        self._settings = settings
        self._clock = clock
        self._heard_at = clock()

    def tell(self, message: ToEngine) -> None:
        """Send a message; one that cannot be taken is noticed with the next look at what the engine says."""
        with suppress(OSError):
            self._channel.send(message)

    def hear(self, *, busy: bool) -> Heard:
        """The next message, waited for until the next look; an engine that is not `busy` may be silent for ever."""
        try:
            message = self._channel.receive(self._settings.poll_seconds)
        except TimeoutError:
            return self._silence(busy=busy)
        except (OSError, ValueError):  # it was killed, or frozen for long, in the middle of a frame
            return Silence.GONE
        self._heard_at = self._clock()
        return Silence.GONE if message is None else message

    def _silence(self, *, busy: bool) -> Silence:
        if not busy:
            self._heard_at = self._clock()
        patience = self._settings.stall_seconds
        return Silence.STALLED if self._clock() - self._heard_at > patience else Silence.QUIET
