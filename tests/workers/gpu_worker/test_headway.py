"""What an engine tells of its chunks, written at most once a second."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest

from app.domain.headway import Headway
from app.errors import DatabaseRefusedError, DatabaseUnreachableError
from tests.world import chunk
from workers.gpu_worker.headway import HeadwayLog
from workers.protocol.engine import Progressed

ONE, OTHER = (chunk(uuid4(), position) for position in range(2))


class Store:
    """Takes what is written, and turns the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.taken: list[Mapping[UUID, Headway]] = []
        self.error: Exception | None = None
        self.log = HeadwayLog(self.take, clock=lambda: self.now)

    def take(self, headway: Mapping[UUID, Headway]) -> None:
        if self.error:
            raise self.error
        self.taken.append(headway)

    def hear(self, *answered: tuple[UUID, int], tokens: int = 0) -> None:
        self.log.hear(Progressed(answered, tokens), [ONE, OTHER])
        self.write()

    def write(self) -> None:
        self.log.write([ONE, OTHER])


def test_what_changed_is_written_once_and_not_more_often_than_once_a_second() -> None:
    store = Store()
    store.write()
    store.hear((ONE.id, 0))
    assert store.taken == []
    store.hear((ONE.id, 1))
    store.write()
    assert store.taken == [{ONE.id: Headway(1, 5.0)}]
    store.hear((ONE.id, 2), (OTHER.id, 1))
    assert len(store.taken) == 1
    store.now = 1.0
    store.write()
    assert store.taken[1:] == [{ONE.id: Headway(2, 10.0), OTHER.id: Headway(1, 5.0)}]
    store.now = 2.0
    store.hear((ONE.id, 2), (OTHER.id, 2))
    assert store.taken[2:] == [{OTHER.id: Headway(2, 10.0)}]


def test_tokens_belong_to_the_requests_that_are_still_answered() -> None:
    store = Store()
    store.hear((ONE.id, 1), (OTHER.id, 0), tokens=3)
    assert store.taken == [{ONE.id: Headway(1, 5.0), OTHER.id: Headway(0, 2.0)}]
    store.now = 1.0
    store.hear((ONE.id, 2), (OTHER.id, 2), tokens=3)
    assert store.taken[1:] == [{ONE.id: Headway(2, 10.0), OTHER.id: Headway(2, 10.0)}]


def test_a_chunk_that_is_not_in_hand_is_not_told_of() -> None:
    store = Store()
    store.hear((uuid4(), 1), tokens=2)
    assert store.taken == []


def test_a_chunk_that_comes_back_begins_anew() -> None:
    store = Store()
    store.hear((ONE.id, 1))
    store.log.write([OTHER])
    store.now = 1.0
    store.hear((ONE.id, 1))
    assert store.taken == [{ONE.id: Headway(1, 5.0)}] * 2


def test_while_the_database_is_away_it_is_tried_again() -> None:
    store = Store()
    store.error = DatabaseUnreachableError("gone")
    store.hear((ONE.id, 1))
    store.error = None
    store.write()
    assert store.taken == []
    store.now = 1.0
    store.write()
    assert store.taken == [{ONE.id: Headway(1, 5.0)}]


def test_a_statement_that_is_wrong_is_not_passed_over() -> None:
    store = Store()
    store.error = DatabaseRefusedError("no such column")
    with pytest.raises(DatabaseRefusedError):
        store.hear((ONE.id, 1))
