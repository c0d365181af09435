"""What a worker process writes, Celery's own words among it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

NOWHERE = {"EVALQ_REDIS_URL": "redis://127.0.0.1:1/0", "EVALQ_WORKER_ROLE": "coordinator"}
COMMAND = ["-P", "-m", "workers", "-Q", "coordinator", "-c", "1", "-n", "x@%h"]


def lines() -> Iterator[str]:
    """Of a worker that finds no broker, until it has said so and is told to stop."""
    env = os.environ | NOWHERE | {"EVALQ_LOG_FORMAT": "json"}
    command = [sys.executable, *COMMAND]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        for line in worker.stdout or ():
            if "Cannot connect" in line:
                worker.terminate()
            yield line


def test_a_worker_writes_nothing_but_records() -> None:
    told = [
        json.loads(line) for line in list(lines())
    ]  # all of them first: a worker that is left would be waited for
    assert all({"at", "level", "logger", "message"} <= record.keys() for record in told)
    assert "Cannot connect" in told[-1]["message"]
    assert not any("error" in record for record in told)
