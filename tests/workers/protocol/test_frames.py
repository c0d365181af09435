from __future__ import annotations

from contextlib import closing

import pytest

from workers.protocol.frames import pair


def test_the_other_end_has_only_so_long_to_take_a_frame() -> None:
    ours, theirs = pair()
    with closing(ours), theirs:
        ours.limit_silence(0.1)

        with pytest.raises(BlockingIOError):
            ours.send({"type": "more than buffers hold", "padding": b"." * (4 << 20)})


def test_the_other_end_has_only_so_long_to_end_a_frame() -> None:
    ours, theirs = pair()
    with closing(ours), theirs:
        ours.limit_silence(0.1)
        theirs.sendall(b"\0\0\0")

        with pytest.raises(BlockingIOError):
            ours.receive(10.0)
        with pytest.raises(BlockingIOError):
            ours.receive()
