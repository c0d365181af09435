"""`python -P -m workers -Q coordinator` or `-Q group.NAME`: the Celery worker of a queue.

Celery's own command would look for `workers` in the current folder first, whatever Python was told, and keep the
megabytes of every other command and of its prompt for as long as the worker lives.
"""

from __future__ import annotations

import argparse
import sys

from celery.utils.nodenames import default_nodename, host_format

from app.log_lines import set_up
from app.settings import current
from workers.celery_app import app


def main() -> None:
    """Run until told to stop; exits as the worker says."""
    parser = argparse.ArgumentParser("workers")
    parser.add_argument("-Q", "--queue", required=True)
    parser.add_argument("-c", "--concurrency", type=int, default=1)
    parser.add_argument("-n", "--name", default="worker@%h", help="%%h is this host.")
    asked = parser.parse_args()
    set_up(current().log_format)  # Celery warns of things before it logs
    sys.__stdout__ = None  # type: ignore[misc] # where it says past all logs that it is told to stop
    worker = app.Worker(
        hostname=host_format(default_nodename(asked.name)),
        pool_cls="threads",
        loglevel="INFO",
        quiet=True,
        queues=[asked.queue],
        concurrency=asked.concurrency,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


if __name__ == "__main__":
    main()
