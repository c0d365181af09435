"""What the benchmarks measure: the service in real processes, on servers of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.settings import Settings
from tests.e2e.stack import Stack
from tests.servers import running_postgres, running_valkey

TASKS = Path(__file__).with_name("tasks")
QUIET = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def servers() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder, and the variables by which evalq finds a Postgres and a Valkey that live there."""
    with (
        tempfile.TemporaryDirectory(prefix="evalq-bench-") as name,
        running_postgres(Path(name) / "pg") as postgres,
        running_valkey(Path(name) / "valkey") as redis_url,
        postgres.database() as database_url,
    ):
        yield (
            Path(name),
            {
                "EVALQ_DATABASE_URL": database_url,
                "EVALQ_REDIS_URL": redis_url,
                "EVALQ_DATA_DIR": f"{name}/data",
            },
        )


@contextmanager
def service(devices: int = 2, **env: str) -> Iterator[Stack]:
    """The whole service with so many CPU slots, the tasks of these benchmarks and the models of this host."""
    told = {"EVALQ_TASK_PATHS": str(TASKS), "EVALQ_MODEL_PATHS": str(Settings().cache_dir / "models")}
    with servers() as (folder, urls), Stack(urls | told | QUIET | env, folder, f"cpu:{devices}") as stack:
        yield stack


def run(stack: Stack, job: dict[str, Any]) -> str:
    """Post a job and follow its stream to the end: asking again and again would cost what is measured. Its id."""
    job_id = stack.submit(job)
    with stack.http.stream("GET", f"/jobs/{job_id}/events", timeout=None) as stream:
        for _ in stream.iter_lines():
            pass
    assert stack.job(job_id)["status"] == "succeeded", stack.job(job_id)
    return job_id


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
