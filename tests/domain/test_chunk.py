import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.chunk import (
    ALONE,
    MAX_FAILURES,
    MAX_INTERRUPTIONS,
    AfterFailure,
    Chunk,
    Room,
    after_death,
    after_failure,
    parts,
)
from app.domain.ids import uuid7


def chunk(requests: int) -> Chunk:
    keys = tuple(bytes([number]) for number in range(requests))
    return Chunk(uuid7(), uuid7(), 0, "loglikelihood", 8, None, None, 1.0, keys, b"")


def fates(start: Chunk, *, interrupted: bool) -> list[AfterFailure]:
    seen: list[AfterFailure] = []
    while not seen or seen[-1] is AfterFailure.AGAIN:
        start, fate = after_failure(start, interrupted=interrupted)
        seen.append(fate)
    return seen


def test_a_chunk_that_fails_twice_is_divided_into_some_requests_alone_and_the_rest() -> None:
    assert fates(chunk(4), interrupted=False) == [AfterFailure.AGAIN, AfterFailure.PROBE]


def test_a_part_that_fails_is_divided_at_once_in_halves() -> None:
    part = replace(chunk(4), failures=MAX_FAILURES)
    assert fates(part, interrupted=False) == [AfterFailure.HALVE]
    assert fates(replace(chunk(1), failures=MAX_FAILURES), interrupted=False) == [AfterFailure.GIVE_UP]


def test_a_part_whose_engine_vanishes_is_not_to_blame_at_once() -> None:
    part = replace(chunk(4), failures=MAX_FAILURES)
    assert fates(part, interrupted=True) == [AfterFailure.AGAIN] * (MAX_INTERRUPTIONS - 1) + [
        AfterFailure.HALVE
    ]


@given(st.integers(2, 200), st.sampled_from([AfterFailure.PROBE, AfterFailure.HALVE]))
def test_parts_hold_every_request_once_in_order(count: int, fate: AfterFailure) -> None:
    divided = parts(count, fate)
    assert sorted(place for part in divided for place in part) == list(range(count))
    assert all(part == sorted(part) and part for part in divided)
    alone = [part for part in divided if len(part) == 1]
    if fate is AfterFailure.PROBE:
        assert len(alone) >= min(ALONE, count)
        assert ([0] in alone, [count - 1] in alone) == (True, True), "from all over the chunk"


def test_a_single_request_that_fails_twice_fails_for_good() -> None:
    assert fates(chunk(1), interrupted=False) == [AfterFailure.AGAIN, AfterFailure.GIVE_UP]


def deaths(start: Chunk, *, killed: bool) -> list[AfterFailure]:
    """What becomes of a chunk that engine after engine dies with alone."""
    seen: list[AfterFailure] = []
    while not seen or seen[-1] is AfterFailure.AGAIN:
        start, fate = after_death(start, killed=killed)
        seen.append(fate)
    return seen


def test_a_suspect_that_an_engine_dies_with_alone_is_divided_at_once() -> None:
    suspect = replace(chunk(4), suspect=True)
    assert deaths(suspect, killed=False) == [AfterFailure.PROBE]
    assert deaths(replace(chunk(1), suspect=True), killed=False) == [AfterFailure.GIVE_UP]
    counted, _ = after_death(suspect, killed=False)
    assert (counted.failures, counted.suspect) == (MAX_FAILURES, True)


def test_a_chunk_that_was_alone_from_the_start_has_a_second_try() -> None:
    assert deaths(chunk(4), killed=False) == [AfterFailure.AGAIN, AfterFailure.PROBE]


@pytest.mark.parametrize("suspect", [False, True])
def test_an_engine_that_was_killed_from_outside_convicts_nobody(suspect: bool) -> None:
    start = replace(chunk(1), suspect=suspect)
    counted, fate = after_death(start, killed=True)
    assert (fate, counted.failures, counted.interruptions) == (AfterFailure.AGAIN, 0, 1)
    assert counted.suspect is suspect
    assert len(deaths(start, killed=True)) == 2 * MAX_INTERRUPTIONS


@given(st.integers(2, 300), st.data())
def test_the_guilty_request_stands_alone_after_few_deaths(requests: int, data: st.DataObject) -> None:
    guilty = data.draw(st.integers(0, requests - 1))
    line, ends, answered = [(replace(chunk(1), suspect=True), list(range(requests)))], 0, 0
    while line:
        start, places = line.pop()
        if guilty not in places:
            answered += len(places)
            continue
        ends += 1
        counted, fate = after_death(replace(start, keys=tuple(b"%d" % at for at in places)), killed=False)
        if fate is AfterFailure.GIVE_UP:
            assert places == [guilty]
        else:
            line += [(counted, [places[at] for at in part]) for part in parts(len(places), fate)]
    assert answered == requests - 1
    assert ends <= 3 + math.log2(requests)


def test_a_chunk_that_costs_more_than_there_is_room_for_goes_to_the_starved_alone() -> None:
    assert Room(5.0, 4).holds(10.0)
    assert not Room(5.0, 4, starved=False).holds(10.0)
    assert not Room(5.0, 4).without(1.0, 1).holds(10.0)
    assert not Room(5.0, 0).holds(1.0)
    assert not Room(5.0, 4, requests=0).holds(1.0)


def test_no_more_chunks_are_looked_at_than_can_fit() -> None:
    """What one replica looks at another passes over."""
    assert [Room(1.0, 4, requests).most for requests in (None, 9, 3, -1)] == [4, 4, 3, 0]
    assert [Room(1.0, 4, requests).full for requests in (3, 0)] == [False, True]
    assert [Room(1.0, 4).without(cost, 1).full for cost in (1.0, 2.0)] == [False, True]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 50))
def test_replicas_that_share_end_together(costs: list[int], replicas: int, window: int) -> None:
    """Every replica takes what it may, then all answer one chunk each: none idles while another has a second one."""
    waiting, hands = list(costs), [list[int]() for _ in range(replicas)]
    while waiting or any(hands):
        left = sum(waiting) + sum(map(sum, hands))
        for hand in hands:
            room = Room(math.inf, 64, window - len(hand), sum(hand), empty=not hand, starved=not hand)
            room, had = room.bounded(left, replicas), len(hand)
            while waiting and room.holds(waiting[0]):
                room = room.without(waiting[0], 1)
                hand.append(waiting.pop(0))
            assert len(hand) <= window
            if len(hand) > max(had, 1):
                assert sum(hand) <= left / replicas + 1e-9
        assert all(hands) or not waiting
        for hand in hands:
            del hand[:1]


def test_engines_that_vanish_count_as_failures_only_after_several() -> None:
    seen = fates(chunk(1), interrupted=True)
    assert seen[-1] is AfterFailure.GIVE_UP
    assert len(seen) == MAX_INTERRUPTIONS * 2
