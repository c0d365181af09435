"""An engine child of a few lines: it answers one chunk, and does with the second one what it was told to."""

from __future__ import annotations

import os
import sys

from workers.protocol.channel import Channel
from workers.protocol.engine import TO_ENGINE, AnswerChunk, Answered, FromEngine, Load, Loaded, ToEngine
from workers.protocol.frames import Connection


def main(then: str) -> int:
    """Serve the socket that it was given."""
    channel: Channel[FromEngine, ToEngine] = Channel(
        Connection.from_fd(int(os.environ["EVALQ_FD"])), TO_ENGINE
    )
    chunks = 0
    while (message := channel.receive()) is not None:
        if isinstance(message, Load):
            channel.send(Loaded(0.1, {}, 64 if then == "die" else 0))
        elif isinstance(message, AnswerChunk):
            chunks += 1
            if chunks == 2 and then == "die":
                return 3
            if then == "answer":
                channel.send(Answered(message.chunk, (b"a", b"b"), 0.1, 2, 1, 0))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
