"""Random lives of replicas: whatever becomes of them, their devices are charged for as long as they were leased."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from sqlalchemy import text

from app.domain.replica import ReplicaStatus
from app.services.serving import Claimed
from tests.services.test_ledger import FAILURE, answer, charged, claim, lost, pass_, unaccounted
from tests.world import World

ENDS = (ReplicaStatus.RELEASED, ReplicaStatus.FAILED)
OWNERS = ("alice", "bob", "carol")


class Life:
    """One replica, from its claim to whatever end."""

    def __init__(self, world: World, random: Random) -> None:
        self._world, self._random = world, random
        count = random.choice((1, 2))
        claimed = world.serving.claim(world.placed(*world.devices(count)), "worker")
        assert claimed
        self._lease, _ = claimed
        self._loaded = False
        self._hands: list[Claimed] = []
        self.over = False

    def step(self) -> None:
        """Some time goes by, and then something happens."""
        pass_(self._world, self._lease, self._random.choice((0.0, 0.1, 3.0, 90.0)))
        ways = (
            [self._work] * 6 + [self._renew, self._end]
            if self._loaded
            else [self._load, self._renew, self._end]
        )
        self._random.choice(ways)()

    def _load(self) -> None:
        self._world.serving.loaded(self._lease, {})
        self._loaded = True

    def _renew(self) -> None:
        self._world.serving.renew(self._lease)

    def _work(self) -> None:
        if not self._hands:
            self._hands = claim(self._world, self._lease)
            return
        done = self._hands.pop(0)
        self._random.choice((self._answer, self._answer, self._fail, self._cancel))(done)

    def _answer(self, done: Claimed) -> None:
        answer(self._world, self._lease, done, self._random.choice((0.0, 2.0, 1e6)))

    def _fail(self, done: Claimed) -> None:
        self._world.fail(self._lease, done.chunk, FAILURE)

    def _cancel(self, done: Claimed) -> None:
        ids = [each.chunk.id for each in (done, *self._hands)]
        self._world.jobs.cancel(done.chunk.job_id)
        wanted = self._world.serving.wanted(self._lease, ids)
        self._hands = [each for each in self._hands if each.chunk.id in wanted]

    def _end(self) -> None:
        ends: tuple[Callable[[], None], ...] = (
            lambda: lost(self._world, self._lease),
            lambda: self._world.serving.end(self._lease, self._random.choice(ENDS)),
            lambda: self._world.serving.end(self._lease, ReplicaStatus.FAILED, FAILURE),
        )
        self._random.choice(ends)()
        self.over = True


@pytest.mark.parametrize("seed", range(4))
def test_a_life_is_charged_as_long_as_it_was(world: World, seed: int) -> None:
    random = Random(seed)
    for _ in range(4):
        for owner in OWNERS:
            world.running(chunks=random.randrange(3), owner=owner)
        life = Life(world, random)
        for _ in range(25):
            life.step()
            assert abs(unaccounted(world)) < 1e-3
            if random.random() < 0.2:
                world.scheduling.book_once()
            if life.over:
                break
    with world.sessions.begin() as session:
        query = "SELECT count(*) FROM (SELECT seconds FROM usage UNION ALL SELECT seconds FROM charges) AS a"
        assert session.scalar(text(f"{query} WHERE seconds < 0")) == 0
    assert set(charged(world)) <= {"loading", "idle", "failed"} | {
        f"{outcome} {owner}" for outcome in ("useful", "failed") for owner in OWNERS
    }
