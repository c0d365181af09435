"""What a replica has in hand, and for how long."""

from __future__ import annotations

from app.domain.ids import uuid7
from app.services.serving import Claimed
from tests.world import FINGERPRINT, chunk
from workers.gpu_worker.backlog import AHEAD_SECONDS, Hand, Speed


def hand(chunks: int) -> Hand:
    """So many chunks of ten tokens, begun at 0."""
    held = Hand(head_since=0.0)
    held.claimed.extend(Claimed(chunk(uuid7(), position), FINGERPRINT) for position in range(chunks))
    return held


def ten_a_second() -> Speed:
    speed = Speed()
    speed.learn(10.0, 1.0)
    return speed


def test_an_engine_is_busy_for_what_is_left_of_its_chunks() -> None:
    assert hand(3).seconds_left(ten_a_second(), now=0.4) == 2.6
    assert hand(0).seconds_left(ten_a_second(), now=0.4) == 0.0


def test_an_engine_that_is_frozen_gets_no_more_than_it_has() -> None:
    assert hand(2).seconds_left(ten_a_second(), now=1800.0) > AHEAD_SECONDS


def test_an_engine_of_unknown_speed_is_busy_while_it_has_a_chunk() -> None:
    assert hand(1).seconds_left(Speed(), now=1800.0) > AHEAD_SECONDS
