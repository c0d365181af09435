"""What is heard of an engine child, and how long its silence is borne."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.domain.ids import uuid7
from app.settings import Settings
from workers.gpu_worker.engine_line import EngineLine, Silence
from workers.protocol.engine import Drop, Progressed
from workers.protocol.frames import Connection, pair
from workers.protocol.messages import packed


class Line:
    """An engine's end, the supervisor's end, and a clock that stands until it is moved."""

    def __init__(self) -> None:
        ours, theirs = pair()
        self.ours, self.engine, self.now = ours, Connection(theirs), 0.0
        settings = Settings(poll_seconds=0.001, stall_seconds=60.0)
        self.line = EngineLine(ours, settings, clock=lambda: self.now)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.ours.close()
    made.engine.close()


def test_silence_is_borne_for_a_while(line: Line) -> None:
    line.now = 60.0
    assert line.line.hear(busy=True) is Silence.QUIET
    line.now = 60.1
    assert line.line.hear(busy=True) is Silence.STALLED


def test_every_message_is_a_sign_of_life(line: Line) -> None:
    line.now = 59.0
    line.engine.send(packed(Progressed((), 0)))
    assert line.line.hear(busy=True) == Progressed((), 0)
    line.now = 119.0
    assert line.line.hear(busy=True) is Silence.QUIET
    line.now = 119.1
    assert line.line.hear(busy=True) is Silence.STALLED


def test_an_engine_with_nothing_to_do_may_be_silent_for_ever(line: Line) -> None:
    for line.now in (1000.0, 5000.0):
        assert line.line.hear(busy=False) is Silence.QUIET
    line.now = 5060.0
    assert line.line.hear(busy=True) is Silence.QUIET, "from when it was given work"
    line.now = 5060.1
    assert line.line.hear(busy=True) is Silence.STALLED


def test_an_engine_that_is_gone_is_noticed_by_hearing_and_not_by_telling(line: Line) -> None:
    line.engine.close()
    line.line.tell(Drop((uuid7(),)))
    assert line.line.hear(busy=False) is Silence.GONE
