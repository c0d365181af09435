from app.domain.chunk import MAX_INTERRUPTIONS, AfterFailure, Chunk, after_failure
from app.domain.ids import uuid7


def chunk(requests: int) -> Chunk:
    keys = tuple(bytes([number]) for number in range(requests))
    return Chunk(uuid7(), uuid7(), 0, "loglikelihood", 8, None, None, 1.0, keys, b"")


def fates(start: Chunk, *, interrupted: bool) -> list[AfterFailure]:
    seen = []
    while not seen or seen[-1] is AfterFailure.AGAIN:
        start, fate = after_failure(start, interrupted=interrupted)
        seen.append(fate)
    return seen


def test_a_chunk_that_fails_twice_is_halved() -> None:
    assert fates(chunk(4), interrupted=False) == [AfterFailure.AGAIN, AfterFailure.HALVE]


def test_a_single_request_that_fails_twice_fails_for_good() -> None:
    assert fates(chunk(1), interrupted=False) == [AfterFailure.AGAIN, AfterFailure.GIVE_UP]


def test_engines_that_vanish_count_as_failures_only_after_several() -> None:
    seen = fates(chunk(1), interrupted=True)
    assert seen[-1] is AfterFailure.GIVE_UP
    assert len(seen) == MAX_INTERRUPTIONS * 2
