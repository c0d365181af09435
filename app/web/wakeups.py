"""Where wake-ups are heard: one Redis subscription per process.

Redis only wakes; the events come from Postgres. Without Redis they are looked for once a second.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.broker import EVENTS_CHANNEL
from app.web.tail import Tail

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0


class WakeUps:
    """Wakes the tail. Lives on one event loop."""

    def __init__(self, *, tail: Tail, redis_url: str) -> None:
        self.tail = tail
        self._redis_url = redis_url

    async def listen(self) -> None:
        """Hear wake-ups until closed, across any outage of Redis."""
        while not self.closed:
            try:
                await self._listen_once()
            except (RedisError, OSError) as error:
                log.warning("no wake-ups from Redis, polling instead: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        async with Redis.from_url(self._redis_url) as redis, redis.pubsub() as channel:
            await channel.subscribe(EVENTS_CHANNEL)
            async for message in channel.listen():
                if message["type"] == "message":
                    with suppress(ValueError):
                        self.tail.wake(UUID(message["data"].decode()))

    @property
    def closed(self) -> bool:
        """The server is stopping: streams end."""
        return self.tail.closed

    def close(self) -> None:
        """End every stream, now and from now on: a server that stops waits for them."""
        self.tail.close()

    async def wait_closed(self, listening: asyncio.Task[None]) -> None:
        """Close, and return when nothing listens to Redis or reads the database any more."""
        self.close()
        while not listening.done():
            listening.cancel()  # again: a connection that breaks while it is closed swallows the first
            await asyncio.wait({listening}, timeout=RECONNECT_SECONDS)
        await self.tail.wait_closed()
