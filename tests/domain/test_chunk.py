from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.domain.chunk import ALONE, MAX_FAILURES, MAX_INTERRUPTIONS, AfterFailure, Chunk, after_failure, parts
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


def test_engines_that_vanish_count_as_failures_only_after_several() -> None:
    seen = fates(chunk(1), interrupted=True)
    assert seen[-1] is AfterFailure.GIVE_UP
    assert len(seen) == MAX_INTERRUPTIONS * 2
