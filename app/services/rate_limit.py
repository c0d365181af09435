"""How many requests a key may make in a minute, counted in Redis for all processes together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError

from app.errors import TooManyRequestsError
from app.settings import Settings

WINDOW_SECONDS = 60
PATIENCE_SECONDS = 0.5
SILENCE_SECONDS = 5.0
"""After a Redis that did not answer, nobody waits for it for as long."""

log = logging.getLogger(__name__)


class RateLimit:
    """A fixed window of a minute. Without Redis nothing is limited: counting is not worth an outage."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._limit = settings.requests_per_minute
        self._now = now
        self._silent_until = float("-inf")
        self._redis = Redis.from_url(
            settings.redis_url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
        )

    @property
    def counts(self) -> bool:
        """Whether requests are counted at all."""
        return self._limit > 0

    def count(self, key_id: UUID) -> None:
        """Count one request of a key; TooManyRequestsError when its minute is used up."""
        if not self.counts or time.monotonic() < self._silent_until:
            return
        window, passed = divmod(self._now(), WINDOW_SECONDS)
        try:
            requests = self._counted(f"evalq:rate:{key_id}:{int(window)}")
        except (RedisError, OSError) as error:
            self._silent_until = time.monotonic() + SILENCE_SECONDS
            log.warning("requests are not counted while Redis is away: %s", error)
            return
        if requests > self._limit:
            seconds = max(1, round(WINDOW_SECONDS - passed))
            raise TooManyRequestsError(
                f"this key has made its {self._limit} requests of this minute (EVALQ_REQUESTS_PER_MINUTE):"
                f" ask again in {seconds} s",
                seconds,
            )

    def _counted(self, name: str) -> int:
        """Add one; the count expires by itself, in the same transaction, so that none can stay behind."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.incr(name)
            pipeline.expire(name, 2 * WINDOW_SECONDS)
            return int(pipeline.execute()[0])

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()
