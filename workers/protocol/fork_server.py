"""What a coordinator and the fork server of its harness children say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from workers.protocol.messages import Messages


@dataclass(frozen=True)
class Spawn:
    """Fork a child on the socket that comes along; how it ends is told there, by `Exited`."""

    log_path: str
    bounds: tuple[int, ...]
    """The child's own, as `workers.containment.bounds.Bounds` orders them."""


@dataclass(frozen=True)
class Look:
    """Give a sign of life: sent back as it is."""


ToForkServer: TypeAlias = Spawn | Look
TO_FORK_SERVER: Messages[ToForkServer] = Messages(Spawn, Look)


@dataclass(frozen=True)
class Exited:
    """A harness child has ended: the last message on its connection.

    If the fork server itself was killed, or the child in the middle of a message, the stream just ends.
    """

    status: int
    """As os.waitpid tells it."""
    outgrew: str | None
    """In words, which of its bounds the child had passed, if it was killed for that."""
