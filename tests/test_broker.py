"""The doorbell over a real broker."""

from __future__ import annotations

import threading

import pytest
from celery.worker import WorkController
from redis import Redis

from app.broker import UNHEARD_MOST, CeleryDoorbell, group_queue, make_celery
from app.domain.ids import uuid7
from app.settings import Settings
from tests.waiting import until


def test_rings_that_nobody_hears_do_not_pile_up(settings: Settings) -> None:
    bell, group = CeleryDoorbell(settings), uuid7().hex
    for _ in range(UNHEARD_MOST + 50):
        bell.ring_replica(uuid7(), group)
    with Redis.from_url(settings.redis_url) as redis:
        assert redis.llen(group_queue(group)) == UNHEARD_MOST
        redis.ltrim(group_queue(group), 0, UNHEARD_MOST - 2)
        bell.ring_replica(uuid7(), group)
        assert redis.llen(group_queue(group)) == UNHEARD_MOST


class Worker(WorkController):
    """One that says when it takes messages."""

    def on_before_init(self, **_: object) -> None:
        self.ready = threading.Event()

    def on_consumer_ready(self, _: object) -> None:
        self.ready.set()


def test_a_worker_outlives_a_broker_that_stores_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"concurrency": 1, "pool": "threads", "without_gossip": True, "without_mingle": True}
    worker = Worker(app=make_celery(settings), **options)
    at_work = threading.Thread(target=worker.start, daemon=True)
    with Redis.from_url(settings.redis_url) as redis:
        redis.config_set("maxmemory", 1)
        try:
            at_work.start()
            until(lambda: "maxmemory" in caplog.text)
        finally:
            redis.config_set("maxmemory", 0)
    assert worker.ready.wait(20)
    worker.stop()
    at_work.join(20)
