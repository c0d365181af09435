"""How far an engine is inside a chunk, and what a job shows as done for it."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest

from app.domain.headway import Headway, Level
from tests.world import chunk

CHUNK = chunk(uuid4(), 0)
ONE, OTHER = uuid4(), uuid4()


def test_answered_requests_take_their_share_of_the_chunks_tokens() -> None:
    assert Headway().further(CHUNK, 1, 0) == Headway(1, 5.0)
    assert Headway().further(CHUNK, 2, 0) == Headway(2, 10.0)


def test_tokens_count_while_no_request_ends() -> None:
    begun = Headway().further(CHUNK, 0, 2.0)
    assert begun == Headway(0, 2.0)
    assert begun.further(CHUNK, 0, 1.5) == Headway(0, 3.5)
    assert begun.further(CHUNK, 1, 0) == Headway(1, 5.0), "the tokens are of the request that ended"


def test_a_chunk_has_no_more_than_it_asks_for() -> None:
    assert Headway().further(CHUNK, 9, 99.0) == Headway(2, 10.0)


def test_a_batch_that_is_tried_again_takes_nothing_back() -> None:
    assert Headway(1, 5.0).further(CHUNK, 0, 0) == Headway(1, 5.0)


def test_headway_of_several_chunks_adds_up() -> None:
    assert sum([Headway(1, 5.0), Headway(2, 7.5)], Headway()) == Headway(3, 12.5)


def test_a_job_shows_what_engines_are_ahead_of_what_they_stored() -> None:
    assert Level().at(7, [ONE], []) == Level(7, frozenset({ONE}))


def test_less_is_shown_only_where_an_engine_died_that_was_counted_on() -> None:
    level = Level(9, frozenset({ONE}))
    assert level.at(5, [OTHER], []) == level
    assert level.at(5, [OTHER], [OTHER]) == level
    assert level.at(5, [OTHER], [ONE]) == Level(5, frozenset({OTHER}))


def test_a_death_that_others_make_up_for_is_forgotten() -> None:
    level = Level(9, frozenset({ONE})).at(10, [OTHER], [ONE])
    assert level == Level(10, frozenset({OTHER}))
    assert level.at(9, [OTHER], [ONE]) == level


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_seen_a_level_falls_with_a_death_or_not_at_all(seed: int) -> None:
    draw = random.Random(seed)
    replicas = [uuid4() for _ in range(3)]
    level = Level()
    for _ in range(200):
        ahead, dead = (draw.sample(replicas, draw.randint(0, 3)) for _ in range(2))
        before, level = level, level.at(draw.randint(0, 50), ahead, dead)
        assert level.done >= before.done or died(before, dead)


def died(level: Level, dead: list[UUID]) -> bool:
    return bool(level.counted_on & set(dead))
