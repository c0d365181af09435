"""Whether jobs can be taken: the database, its schema and the broker."""

from __future__ import annotations

from redis import Redis
from redis.exceptions import RedisError

from app.db.session import check_schema
from app.errors import DatabaseUnreachableError, OldSchemaError
from app.settings import Settings

OK = "ok"
PATIENCE_SECONDS = 2


class HealthService:
    """Looks afresh at every call."""

    def __init__(self, *, settings: Settings) -> None:
        self._settings = settings

    def checks(self) -> dict[str, str]:
        """For each thing needed, `ok` or what is wrong with it."""
        return {**self._database(), "broker": self._broker()}

    def _database(self) -> dict[str, str]:
        try:
            check_schema(self._settings)
        except DatabaseUnreachableError as error:
            return {"database": str(error), "schema": "unknown"}
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
            return f"the broker does not answer: {error}"
        return OK
