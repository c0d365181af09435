"""`python -P -m workers -P threads -Q coordinator` or `-Q group.NAME`: the Celery worker of a queue.

Celery's own command would look for `workers` in the current folder first, whatever Python was told.
"""

from __future__ import annotations

import sys

from app.log_lines import set_up
from app.settings import current
from workers.celery_app import app

set_up(current().log_format)  # Celery warns of things before it logs
sys.__stdout__ = None  # type: ignore[misc] # where it says past all logs that it is told to stop
app.worker_main(["--quiet", "worker", *sys.argv[1:]])
