"""The Celery application of a worker, and what it does when it begins and ends."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Celery, signals

from app.broker import make_celery
from app.errors import DatabaseUnreachableError
from app.log_lines import set_up
from app.settings import current
from workers.tasks import WorkerRole, make_role, register

AGAIN_SECONDS = 2.0

for _name in ("celery.redirected", "celery.worker.strategy", "celery.app.trace"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # they tell Celery's own ids, which nobody can look up

log = logging.getLogger(__name__)

app: Celery = make_celery(current())
_role: WorkerRole | None = None


def role() -> WorkerRole:
    """What this worker does; made at first use."""
    global _role  # noqa: PLW0603 - one worker process has one role, made after Celery has configured logging
    if _role is None:
        _role = make_role(current())
    return _role


register(app, role)


def _set_up_logs(**_: Any) -> None:
    set_up(current().log_format)  # Celery then sets up none of its own


def _begin(**_: Any) -> None:
    """Begin once the database answers; a worker that cannot begin ends: it would take messages and do nothing."""
    while True:
        try:
            return role().begin()
        except DatabaseUnreachableError as error:
            log.warning("this worker cannot begin yet: %s", error)
            time.sleep(AGAIN_SECONDS)
        except Exception as error:
            log.exception("this worker cannot begin")
            raise SystemExit(1) from error


def _wind_down(**_: Any) -> None:
    if _role is not None:  # else it has not begun
        _role.wind_down()


def _end(**_: Any) -> None:
    if _role is not None:
        _role.end()


signals.setup_logging.connect(_set_up_logs)
signals.worker_ready.connect(_begin)
signals.worker_shutting_down.connect(_wind_down)
signals.worker_shutdown.connect(_end)
