"""Connections: one that does not get to the point is closed, so that nobody holds them all without a key."""

from __future__ import annotations

import asyncio
import socket

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
UNREAD_SECONDS = 30.0
"""After so long without taking anything of what was sent a client is gone, or might as well be."""
MOST_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers; uvicorn by itself reads them without end."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP with an end to requests whose head is slow or large, and to answers that nobody reads."""

    _in_head = True
    _head_bytes = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request, and that its answer is read: nobody holds a stream's place by not reading it."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_SECONDS * 1000))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has grown too large."""
        if self._in_head:
            self._expect_head()
        self._head_bytes += len(data)
        super().data_received(data)
        too_large = self._in_head and self._head_bytes > MOST_HEAD_BYTES
        if too_large and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {MOST_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._in_head = False
        self._expect_nothing()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is the head of another request."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def _expect_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
