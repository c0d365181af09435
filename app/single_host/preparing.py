"""What must hold of the servers before parts start, seen to in a process of its own.

`evalq up` lives as long as the service does. What only the beginning needs (SQLAlchemy, alembic, the broker's client)
would stay in its memory for good.
"""

from __future__ import annotations

import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from urllib.parse import urlsplit

from app.errors import BrokerUnreachableError, LocalStartError
from app.settings import Settings
from app.single_host.processes import tied_to_parent


@dataclass(frozen=True)
class Groundwork:
    """What was found, and done."""

    migrated: bool
    has_keys: bool


def prepare(settings: Settings) -> Groundwork:
    """Bring the database to this version's schema, once the broker answers; errors as `migrate` and LocalStartError."""
    try:
        tie = tied_to_parent(signal.SIGKILL)  # it holds the lock of the data directory, as this process does
        with ProcessPoolExecutor(1, mp_context=get_context("fork"), initializer=tie) as child:
            return child.submit(_prepared, settings).result()
    except BrokenProcessPool as error:
        raise LocalStartError("the process that prepares the database was killed") from error


def _prepared(settings: Settings) -> Groundwork:
    from app.services.keys import keys_exist
    from app.single_host.schema import migrate

    check_broker(settings.redis_url)
    return Groundwork(migrate(settings), keys_exist(settings))


def check_broker(url: str) -> None:
    """BrokerUnreachableError unless something answers there."""
    import redis

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        place = urlsplit(url)
        raise BrokerUnreachableError(f"no Redis at {place.hostname}:{place.port or 6379}: {error}") from error
