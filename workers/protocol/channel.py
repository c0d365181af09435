"""A connection on which each end knows what it may say and what it will hear."""

from __future__ import annotations

from typing import Generic, TypeVar

from workers.protocol.frames import Connection
from workers.protocol.messages import Messages, packed

Says = TypeVar("Says")
Hears = TypeVar("Hears")


class Channel(Generic[Says, Hears]):
    """One end of a socket that carries messages; saying is safe from several threads."""

    def __init__(self, connection: Connection, hears: Messages[Hears]) -> None:
        self.connection = connection
        self._hears = hears

    def send(self, message: Says) -> None:
        """Send a message whole; raises OSError when the other end is gone."""
        self.connection.send(packed(message))

    def receive(self, timeout_seconds: float | None = None) -> Hears | None:
        """The next message, or None at the end of the stream.

        TimeoutError if none began in time; ValueError if what came is no message that this end hears.
        """
        frame = self.connection.receive(timeout_seconds)
        return None if frame is None else self._hears.opened(frame)
