"""What an engine says that it takes, from its mouth to where plans look for it."""

from __future__ import annotations

from typing import Any

import pytest

from app.db.engine_measures import EngineMeasureRepository
from app.domain.measures import LoadMeasure
from tests.waiting import until
from tests.workers.gpu_worker.conftest import Feeds
from tests.workers.gpu_worker.peer import Peer, give_payloads, is_settled
from tests.world import World
from workers.gpu_worker import held
from workers.protocol.engine import Answered, Load, Loaded
from workers.protocol.payload import pack_response

NAME = "of the engine"


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model's folder is not there to be read."""
    monkeypatch.setattr(held, "name_of_engine", lambda _: NAME)


def measured(world: World) -> list[LoadMeasure]:
    with world.sessions.begin() as session:
        return [found.load for found in EngineMeasureRepository(session).recall(NAME)]


def answered(world: World, peer: Peer, peak: float | None) -> None:
    chunk = peer.take()
    responses = (pack_response([-1.0, True]),) * 2
    peer.say(Answered(chunk.chunk, responses, 0.1, 2, 1, peer.log_end, peak))
    until(lambda: is_settled(world, chunk))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"weights_bytes": 13e9, "cache_tokens": 100}, LoadMeasure(13e9, None, 100.0, None, 0.5)),
        (
            {"weights_bytes": -1, "peak_bytes": float("nan"), "other_bytes": "x", "new": 5},
            LoadMeasure(seconds=0.5),
        ),
        ({}, LoadMeasure(seconds=0.5)),
    ],
)
def test_what_it_measured_is_kept_unless_it_lies(
    world: World, feeding: Feeds, said: dict[str, Any], kept: LoadMeasure
) -> None:
    one = feeding()
    one.peer.hear(Load)
    one.peer.say(Loaded(0.5, {}, 0, said))
    until(lambda: measured(world))
    assert measured(world) == [kept]


def test_its_peak_rises_with_what_it_answers(world: World, feeding: Feeds) -> None:
    world.running(chunks=4)
    give_payloads(world)
    one = feeding()
    one.peer.hear(Load)
    one.peer.say(Loaded(0.5, {}, 0, {"peak_bytes": 10e9}))
    for peak, known in ((12e9, 12e9), (None, 12e9), (float("inf"), 12e9), (11e9, 12e9)):
        answered(world, one.peer, peak)
        assert measured(world)[0].peak_bytes == known
