"""Length-prefixed msgpack frames: how a supervisor and its child talk.

Standard library and msgpack only, because engine children run in a backend's own environment.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any, TypeAlias

import msgpack

Frame: TypeAlias = dict[str, Any]

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 1 << 30


class Connection:
    """One end of a socket that carries frames; sending is safe from several threads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sending = threading.Lock()

    @classmethod
    def from_fd(cls, fd: int) -> Connection:
        """Adopt an inherited descriptor."""
        return cls(socket.socket(fileno=fd))

    def limit_silence(self, seconds: float) -> None:
        """From now on, raise BlockingIOError where the other end takes nothing, or ends no frame, for so long."""
        whole = int(seconds)
        limit = struct.pack("ll", whole, int((seconds - whole) * 1e6))
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            self._sock.setsockopt(socket.SOL_SOCKET, option, limit)

    def send(self, frame: Frame) -> None:
        """Send a frame whole; raises OSError when the other end is gone."""
        body = msgpack.packb(
            frame, unicode_errors="backslashreplace"
        )  # half a surrogate pair, of whoever wrote it
        if len(body) > MAX_FRAME_BYTES:
            raise ValueError(f"frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
        with self._sending:
            self._sock.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self, timeout_seconds: float | None = None) -> Frame | None:
        """The next frame, or None at the end of the stream; TimeoutError if none began in time."""
        self._sock.settimeout(timeout_seconds)
        try:
            first = self._sock.recv(1)
        except ConnectionResetError:
            return None
        finally:
            self._sock.settimeout(None)
        rest = self._read(_LENGTH.size - 1) if first else None
        if rest is None:
            return None
        (length,) = _LENGTH.unpack(first + rest)
        if length > MAX_FRAME_BYTES:
            raise ValueError(f"frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
        body = self._read(length)
        return None if body is None else msgpack.unpackb(body, strict_map_key=False)

    def _read(self, count: int) -> bytes | None:
        parts: list[bytes] = []
        while count:
            try:
                part = self._sock.recv(min(count, 1 << 20))
            except ConnectionResetError:
                return None
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def fileno(self) -> int:
        """The descriptor, for selectors."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end; the other end reads end of stream."""
        self._sock.close()


def pair() -> tuple[Connection, socket.socket]:
    """A connection and the socket to hand to a child."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Connection(ours), theirs
