"""The Celery worker: `celery -A workers.celery_app worker -P threads -Q coordinator` or `-Q group.NAME`."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, signals

from app.broker import make_celery
from app.settings import current
from workers.tasks import Role, make_role, register

logging.getLogger("celery.redirected").setLevel(logging.WARNING)

app: Celery = make_celery(current())
_role: Role | None = None


def role() -> Role:
    """What this worker does; made at first use."""
    global _role  # noqa: PLW0603 - one worker process has one role, made after Celery has configured logging
    if _role is None:
        _role = make_role(current())
    return _role


register(app, role)


def _begin(**_: Any) -> None:
    role().begin()


def _wind_down(**_: Any) -> None:
    role().wind_down()


def _end(**_: Any) -> None:
    role().end()


signals.worker_ready.connect(_begin)
signals.worker_shutting_down.connect(_wind_down)
signals.worker_shutdown.connect(_end)
