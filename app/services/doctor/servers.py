"""The servers that evalq stands on: Postgres, Redis or Valkey, and its own API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from redis import Redis
from redis.exceptions import RedisError

from app.broker import COORDINATOR_QUEUE, group_queue
from app.db.session import check_schema, one_session
from app.db.vitals import ServerVitals, VitalsRepository
from app.errors import OldSchemaError
from app.services.doctor.finding import Finding, fault, ok, warning
from app.settings import Settings

OLDEST_POSTGRES = 140000
SKEW, BAD_SKEW = timedelta(seconds=2), timedelta(seconds=60)
LONG_QUEUE = 1000
"""Messages are hints that a worker takes within seconds, so a long queue has no reader."""

PATIENCE_SECONDS = 3.0
MIB = 1 << 20


def look_at_database(settings: Settings) -> list[Finding]:
    """The server, this host's clock beside its own, connections and schema; DatabaseUnreachableError."""
    with one_session(settings) as session:
        before = datetime.now(UTC)
        server = VitalsRepository(session).server()
        here = before + (datetime.now(UTC) - before) / 2
    return [*judge_server(server, here), look_at_schema(settings)]


def judge_server(server: ServerVitals, here: datetime) -> list[Finding]:
    """`here` is this host's clock at the moment the server's was read."""
    return [_judge_version(server), _judge_clock(server.now - here), _judge_connections(server)]


def _judge_version(server: ServerVitals) -> Finding:
    says = f"Postgres {server.version}, {server.size_bytes / MIB:.0f} MiB"
    if server.version_number < OLDEST_POSTGRES:
        return warning("database", says, "evalq is made for Postgres 14 or newer and tested with 18")
    return ok("database", says)


def _judge_clock(skew: timedelta) -> Finding:
    says = f"this host's clock is {skew.total_seconds():+.1f} s from the database's"
    advice = "keep the clocks of all hosts together (chrony, systemd-timesyncd)"
    if abs(skew) > BAD_SKEW:
        return fault("clock", says, advice)
    return warning("clock", says, advice) if abs(skew) > SKEW else ok("clock", says)


def _judge_connections(server: ServerVitals) -> Finding:
    share = server.connections / server.connections_most
    says = f"{server.connections} of {server.connections_most} in use"
    advice = "raise max_connections, or lower EVALQ_DATABASE_POOL; a process takes up to twice its pool"
    if share >= 0.95:
        return fault("connections", says, advice)
    return warning("connections", says, advice) if share >= 0.8 else ok("connections", says)


def look_at_schema(settings: Settings) -> Finding:
    """Whether this version can work with the database's tables."""
    try:
        check_schema(settings)
    except OldSchemaError as error:
        return fault("schema", str(error), "see docs/operations.md, Upgrade")
    return ok("schema", "this version's, or one that it can use")


def look_at_broker(settings: Settings) -> list[Finding]:
    """Whether it answers, forgets nothing on its own, and is read."""
    try:
        with Redis.from_url(
            settings.redis_url,
            socket_timeout=PATIENCE_SECONDS,
            socket_connect_timeout=PATIENCE_SECONDS,
            decode_responses=True,
        ) as redis:
            return [*judge_broker(redis.info()), judge_queues(_queues(redis))]
    except RedisError as error:
        says = f"it does not answer: {error}"
        return [
            fault("broker", says, "start it, or correct EVALQ_REDIS_URL; jobs wait meanwhile, none is lost")
        ]


def _queues(redis: Redis) -> dict[str, int]:
    lists = redis.scan_iter(match=group_queue("*"), _type="list")
    return {name: int(redis.llen(name)) for name in sorted({COORDINATOR_QUEUE, *lists})}


def judge_broker(info: Mapping[str, Any]) -> list[Finding]:
    """`info` is what INFO answers."""
    valkey = info.get("valkey_version")
    says = f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version')}"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        advice = (
            "set maxmemory-policy noeviction: an evicted message delays a job until it is announced again"
        )
        return [warning("broker", f"{says} may drop messages (maxmemory-policy {policy})", advice)]
    return [ok("broker", says)]


def judge_queues(lengths: Mapping[str, int]) -> Finding:
    """Messages that wait in each queue."""
    says = ", ".join(f"{name} {length}" for name, length in lengths.items())
    long = [name for name, length in lengths.items() if length > LONG_QUEUE]
    if long:
        advice = f"nobody reads {', '.join(long)}: start its worker, or delete the queue if the group is gone"
        return warning("queues", says, advice)
    return ok("queues", says)


def look_at_api(url: str) -> list[Finding]:
    """Whether it says that it is ready."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=PATIENCE_SECONDS, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        advice = "start `evalq up` or `evalq api`, or set EVALQ_URL to where it listens"
        return [warning("api", f"{url} does not answer: {error}", advice)]
    if answer.is_success:
        return [ok("api", f"{url} is ready")]
    return [
        fault("api", f"{url} is not ready: {_told(answer.text)}", "see what it names; it is alive itself")
    ]


def _told(body: str) -> str:
    """What a problem document says to people; else the beginning of whatever answered."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200]
