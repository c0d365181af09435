"""What a replica has in hand, and how much more it can take on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import uuid7
from app.services.serving import Claimed
from tests.world import FINGERPRINT, chunk
from workers.gpu_worker.backlog import AHEAD_SECONDS, CLAIM_MOST, CLAIM_SECONDS, Backlog, Speed

A, B = uuid7(), uuid7()


def backlog(*jobs: object, window: int = 0, speed: float | None = None) -> Backlog:
    """A chunk of two requests and ten tokens for each of these jobs, sent at 0."""
    made = Backlog(look_again_seconds=1.0)
    made.window = window
    if speed:
        made.speed.learn(speed, 1.0)
    for position, job in enumerate(jobs):
        made.add(Claimed(chunk(job, position), FINGERPRINT), 0.0)  # type: ignore[arg-type]
    return made


def test_an_engine_is_busy_for_what_is_left_of_its_chunks() -> None:
    assert backlog(A, A, A, speed=10.0).seconds_left(now=0.4) == 2.6
    assert backlog(speed=10.0).seconds_left(now=0.4) == 0.0


def test_an_engine_that_is_frozen_gets_no_more_than_it_has() -> None:
    held = backlog(A, A, speed=10.0)
    assert held.seconds_left(now=1800.0) > AHEAD_SECONDS
    assert held.room(1800.0) is None


def test_an_engine_of_unknown_speed_is_busy_while_it_has_a_chunk() -> None:
    assert backlog(A).room(1800.0) is None


def test_an_engine_is_given_more_before_it_would_idle() -> None:
    held = backlog(A, speed=10.0)
    assert held.room(0.4) is None
    room = held.room(0.6)
    assert room
    assert (room.cost, room.chunks, room.requests, room.empty, room.starved) == (
        10.0 * CLAIM_SECONDS,
        CLAIM_MOST,
        None,
        False,
        True,
    )


def test_an_engine_that_streams_is_given_what_its_window_misses_at_once() -> None:
    held = backlog(A, B, window=6)
    room = held.room(0.0)
    assert room
    assert (room.requests, room.held_cost, room.empty, room.starved) == (2, 20.0, False, False)
    assert backlog(A, B, window=4).room(1800.0) is None
    empty = backlog(window=4).room(0.0)
    assert empty
    assert (empty.requests, empty.cost, empty.empty, empty.starved) == (4, math.inf, True, True)


@pytest.mark.parametrize("window", [0, 64])
def test_nothing_is_given_beside_a_suspect(window: int) -> None:
    held = backlog(window=window, speed=10.0)
    suspect = replace(chunk(A, 0), suspect=True)
    held.add(Claimed(suspect, FINGERPRINT), 0.0)
    assert held.room(1e9) is None
    held.settle(suspect.id, 0.0)
    assert held.room(0.0)


@pytest.mark.parametrize("change", ["settled", "dropped", "later"])
def test_what_was_looked_for_in_vain_is_not_looked_for_at_every_word(change: str) -> None:
    held = backlog(A, window=64)
    held.found_nothing(0.0)
    assert held.room(0.9) is None
    if change == "settled":
        held.settle(held.ids[0], 0.9)
    elif change == "dropped":
        held.keep(frozenset())
    assert held.room(1.0 if change == "later" else 0.9)


def test_chunks_leave_by_name_in_any_order_and_once() -> None:
    held = backlog(A, B, A, window=64)
    last, first = held.ids[2], held.ids[0]
    for chunk_id in (last, first):
        settled = held.settle(chunk_id, 1.0)
        assert settled
        assert settled.claimed.chunk.id == chunk_id
        assert held.settle(chunk_id, 1.0) is None
    assert len(held) == 1


def test_time_is_counted_once_however_many_chunks_are_in_work() -> None:
    held = backlog(A, A, A, window=64)
    spent = [
        settled.seconds for at in (2.0, 2.5, 6.0) if (settled := held.settle(held.ids[0], at, said=99.0))
    ]
    assert spent == [2.0, 0.5, 3.5]
    held.add(Claimed(chunk(A, 9), FINGERPRINT), 100.0)
    settled = held.settle(held.ids[0], 101.0, said=99.0)
    assert settled
    assert settled.seconds == 1.0, "not while it had nothing"


def test_an_engine_that_answers_one_chunk_at_a_time_says_itself_what_it_took() -> None:
    held = backlog(A)
    settled = held.settle(held.ids[0], 60.0, said=0.5)
    assert settled
    assert (settled.seconds, held.speed.value) == (0.5, 20.0)


def test_a_failure_teaches_no_speed() -> None:
    held = backlog(A)
    held.settle(held.ids[0], 1.0)
    assert held.speed.value is None


@given(st.lists(st.tuples(st.floats(1, 1e4), st.floats(0, 10)), min_size=1, max_size=40))
def test_speed_lies_within_what_was_seen(seen: list[tuple[float, float]]) -> None:
    speed = Speed()
    for tokens, seconds in seen:
        speed.learn(tokens, seconds)
    rates = [tokens / max(seconds, 1e-3) for tokens, seconds in seen]
    assert speed.value
    assert min(rates) * 0.999 <= speed.value <= max(rates) * 1.001


def test_answers_that_come_at_once_after_a_pause_make_no_engine_fast() -> None:
    steady, paused = Speed(), Speed()
    for _ in range(30):
        steady.learn(10.0, 1.0)
    for seconds in [10.0, *[0.0] * 9] * 3:
        paused.learn(10.0, seconds)
    assert steady.value == pytest.approx(10.0)
    assert paused.value
    assert paused.value < 300.0


def test_who_works_on_one_chunk_at_a_time_is_at_the_first_one() -> None:
    held = backlog(A, B)
    assert [each.job_id for each in held.in_work] == [A]
    assert held.alone == held.chunks[0]
    assert held.writers == {A}
    assert held.jobs == {A, B}


def test_who_streams_is_at_all_of_them() -> None:
    held = backlog(A, B, window=64)
    assert held.alone is None
    assert held.writers == {A, B}
    held.settle(held.ids[0], 0.0)
    assert held.alone == held.chunks[0]
    assert backlog(window=64).alone is None


@pytest.mark.parametrize("window", [0, 64])
def test_what_was_dropped_may_be_worked_on_until_a_later_chunk_is_settled(window: int) -> None:
    held = backlog(A, B, window=window)
    (dropped,) = held.keep({held.ids[1]})
    assert held.settle(dropped, 0.0) is None
    assert held.alone is None
    assert held.writers == {A, B}
    settled = held.settle(held.ids[0], 0.0)
    assert settled
    assert settled.writers == {A, B}
    held.add(Claimed(chunk(B, 5), FINGERPRINT), 0.0)
    settled = held.settle(held.ids[0], 0.0)
    assert settled
    assert settled.writers == {A, B}
    assert held.jobs == frozenset()
