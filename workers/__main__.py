"""`python -P -m workers -P threads -Q coordinator` or `-Q group.NAME`: the Celery worker of a queue.

Celery's own command would look for `workers` in the current folder first, whatever Python was told.
"""

from __future__ import annotations

import sys

from workers.celery_app import app

app.worker_main(["worker", *sys.argv[1:]])
