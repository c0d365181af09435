"""The doorbell: the only file that sends Celery messages. A message carries one id and may be lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from app.settings import Settings

RUN_JOB = "evalq.run_job"
RUN_REPLICA = "evalq.run_replica"
COORDINATOR_QUEUE = "coordinator"
EVENTS_CHANNEL = "evalq:events"

RING_SECONDS = 5
"""Patience with a broker that hangs; after a failed ring nobody is rung for as long."""

UNHEARD_MOST = 200
"""Messages left in a queue whose workers are all busy or away: more would say nothing new, and pile up for days."""

log = logging.getLogger(__name__)


def group_queue(group: str) -> str:
    """The Celery queue of a GPU group."""
    return f"group.{group}"


def make_celery(settings: Settings) -> Celery:
    """Celery as evalq uses it: acknowledged early, no results, no retries; Postgres keeps the truth."""
    celery = Celery("evalq", broker=settings.redis_url)
    celery.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_channel_error_retry=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_transport_options={
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "socket_connect_timeout": 5,
            "visibility_timeout": 365 * 24 * 3600,
        },
    )
    return celery


class Doorbell(Protocol):
    """What services need of the broker."""

    def ring_job(self, job_id: UUID) -> None:
        """Tell a coordinator worker that this job waits: it takes the first in line."""

    def ring_replica(self, replica_id: UUID, group: str) -> None:
        """Tell a group's worker that this replica is placed."""

    def wake(self, job_id: UUID) -> None:
        """Tell whoever reads this job's events that there are new ones."""


class CeleryDoorbell:
    """Rings through Celery; a failed ring is logged, and one too many left out: the scheduler rings again."""

    def __init__(self, settings: Settings) -> None:
        self._celery = make_celery(settings)
        self._celery.conf.broker_transport_options["socket_timeout"] = RING_SECONDS
        self._redis = Redis.from_url(
            settings.redis_url, socket_timeout=RING_SECONDS, socket_connect_timeout=RING_SECONDS
        )
        self._silent_until = 0.0

    def ring_job(self, job_id: UUID) -> None:
        """Tell a coordinator worker that this job waits: it takes the first in line."""
        self._ring(lambda: self._send(RUN_JOB, job_id, COORDINATOR_QUEUE))

    def ring_replica(self, replica_id: UUID, group: str) -> None:
        """Tell a group's worker that this replica is placed."""
        self._ring(lambda: self._send(RUN_REPLICA, replica_id, group_queue(group)))

    def wake(self, job_id: UUID) -> None:
        """Tell whoever reads this job's events that there are new ones; a lost wake-up costs them one poll."""
        try:
            if self._may_ring():
                self._redis.publish(EVENTS_CHANNEL, str(job_id))
        except RedisError as error:
            self._fall_silent(error)

    def _send(self, name: str, subject: UUID, queue: str) -> Any:
        if self._redis.llen(queue) >= UNHEARD_MOST:
            return None
        return self._celery.send_task(name, args=[str(subject)], queue=queue, retry=False)

    def _ring(self, send: Callable[[], Any]) -> None:
        try:
            if self._may_ring():
                send()
        except (OperationalError, RedisError, OSError) as error:
            self._fall_silent(error)

    def _may_ring(self) -> bool:
        return time.monotonic() >= self._silent_until

    def _fall_silent(self, error: Exception) -> None:
        """Callers wait once for a broker that hangs, not once for each message."""
        self._silent_until = time.monotonic() + RING_SECONDS
        log.warning("could not ring, the scheduler will ring again: %s", error)
