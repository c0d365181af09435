"""The coordinator, as a harness child hears it and speaks to it."""

from __future__ import annotations

import os
import queue
import threading

from workers.harness_child.errors import CoordinatorGoneError
from workers.protocol.channel import Channel
from workers.protocol.frames import Connection
from workers.protocol.harness import TO_HARNESS, FromHarness, ToHarness, Working


class Link:
    """What the coordinator says is read at once, so that it never waits while a task is scored."""

    def __init__(self, connection: Connection) -> None:
        self._channel: Channel[FromHarness, ToHarness] = Channel(connection, TO_HARNESS)
        self._heard: queue.SimpleQueue[ToHarness | None] = queue.SimpleQueue()
        self._pid = os.getpid()
        self._task: str | None = None
        threading.Thread(target=self._read, name="link", daemon=True).start()

    def tell(self, message: FromHarness) -> None:
        """Send a message; CoordinatorGoneError. A copy of this process that task code let go on ends here."""
        if os.getpid() != self._pid:
            os._exit(0)
        try:
            self._channel.send(message)
        except OSError as error:
            raise CoordinatorGoneError from error

    def working(self, task: str | None) -> None:
        """Whose code runs from now on, None for nobody's: told where that is new."""
        if task != self._task:
            self._task = task
            self.tell(Working(task))

    def next(self) -> ToHarness:
        """The next message, waited for by nobody's code; CoordinatorGoneError at the end of the stream."""
        self.working(None)
        message = self._heard.get()
        if message is None:
            raise CoordinatorGoneError
        return message

    def _read(self) -> None:
        while (message := self._receive()) is not None:
            self._heard.put(message)
        self._heard.put(None)

    def _receive(self) -> ToHarness | None:
        try:
            return self._channel.receive()
        except (OSError, ValueError):
            return None
