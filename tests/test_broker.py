"""The doorbell over a real broker."""

from __future__ import annotations

from redis import Redis

from app.broker import UNHEARD_MOST, CeleryDoorbell, group_queue
from app.domain.ids import uuid7
from app.settings import Settings


def test_rings_that_nobody_hears_do_not_pile_up(settings: Settings) -> None:
    bell, group = CeleryDoorbell(settings), uuid7().hex
    for _ in range(UNHEARD_MOST + 50):
        bell.ring_replica(uuid7(), group)
    with Redis.from_url(settings.redis_url) as redis:
        assert redis.llen(group_queue(group)) == UNHEARD_MOST
        redis.ltrim(group_queue(group), 0, UNHEARD_MOST - 2)
        bell.ring_replica(uuid7(), group)
        assert redis.llen(group_queue(group)) == UNHEARD_MOST
