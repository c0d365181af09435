"""What the coordinator sends to a harness child."""

from __future__ import annotations

import queue
import threading

from workers.harness_child.errors import CoordinatorGoneError
from workers.protocol.frames import Connection, Frame


class Inbox:
    """Frames from the coordinator, read at once, so that it never waits while a task is scored."""

    def __init__(self, connection: Connection) -> None:
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._connection = connection
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next(self) -> Frame:
        """The next frame; raises CoordinatorGoneError at the end of the stream."""
        frame = self._frames.get()
        if frame is None:
            raise CoordinatorGoneError
        return frame

    def _read(self) -> None:
        frame: Frame | None = {}
        while frame is not None:
            try:
                frame = self._connection.receive()
            except (OSError, ValueError):
                frame = None
            self._frames.put(frame)
