"""Whether jobs can be taken: the database, its schema and the broker.

Anybody may ask, so the answers hold no addresses: those are logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Lock, Thread

from redis import Redis
from redis.exceptions import RedisError

from app.db.session import check_schema
from app.errors import DatabaseUnreachableError, OldSchemaError
from app.settings import Settings

OK = "ok"
PATIENCE_SECONDS = 2


BELIEVED_SECONDS = 1.0
"""Each look opens connections, and needs no key."""
HASTE_SECONDS = 0.1
"""So long who lets the broker be asked waits for what it says: one that is gone is found out sooner."""
SILENT = "does not answer: the log of the API and `evalq doctor` say why"

log = logging.getLogger(__name__)


class HealthService:
    """Looks at most once a second, however many ask."""

    def __init__(self, *, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = Lock()
        self._looked_at = float("-inf")
        self._found: Mapping[str, str] = {}
        self._asking = Lock()
        self._asked_at = float("-inf")
        self._rings = True

    def checks(self) -> Mapping[str, str]:
        """For each thing needed, `ok` or what is wrong with it."""
        with self._lock:
            if self._clock() - self._looked_at >= BELIEVED_SECONDS:
                self._found = {**self._database(), "broker": self._broker()}
                self._looked_at = self._clock()
            return self._found

    def rings(self) -> bool:
        """Whether the broker answered when it was asked last; nobody waits for one that is silent."""
        if self._clock() - self._asked_at >= BELIEVED_SECONDS and self._asking.acquire(blocking=False):
            asking = Thread(target=self._ask, daemon=True)
            try:
                asking.start()
            except RuntimeError as error:  # no more threads: who asks later may
                self._asking.release()
                log.warning("could not ask the broker: %s", error)
            else:
                asking.join(HASTE_SECONDS)
        return self._rings

    def _ask(self) -> None:
        try:
            self._rings = self._broker() == OK
            self._asked_at = self._clock()
        finally:
            self._asking.release()

    def _database(self) -> dict[str, str]:
        try:
            check_schema(self._settings)
        except DatabaseUnreachableError as error:
            log.warning("not ready: %s", error)
            return {"database": SILENT, "schema": "unknown"}
        except OldSchemaError as error:
            return {"database": OK, "schema": str(error)}
        return {"database": OK, "schema": OK}

    def _broker(self) -> str:
        try:
            with Redis.from_url(
                self._settings.redis_url,
                socket_connect_timeout=PATIENCE_SECONDS,
                socket_timeout=PATIENCE_SECONDS,
            ) as redis:
                redis.ping()
        except RedisError as error:
            log.warning("not ready: the broker does not answer: %s", error)
            return SILENT
        return OK
