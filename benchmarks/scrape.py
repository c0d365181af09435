"""How long a scrape of /metrics takes where 100,000 jobs are stored.

.venv/bin/python -m benchmarks.scrape [jobs]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.jobs import submission
from tests.servers import running_postgres, running_valkey

SCRAPES = 20
MOST_SECONDS = 0.1

COPIES = """
    INSERT INTO jobs (id, owner, name, status, priority, tags, spec, engine, engine_key, plan, created_at, started_at,
                      ended_at)
    SELECT gen_random_uuid(), 'owner' || n %% 50, 'job ' || n, s, 0, '{}', spec, engine, engine_key, plan,
           now() - n * interval '1 second', now() - n * interval '1 second',
           CASE WHEN s IN ('queued', 'running') THEN NULL ELSE now() END
    FROM jobs, generate_series(1, %(jobs)s) AS n,
         LATERAL (SELECT (ARRAY['queued', 'running', 'failed', 'cancelled', 'succeeded'])[CASE
             WHEN n %% 100 < 2 THEN n %% 100 + 1 ELSE 3 + n %% 3 END] AS s) AS status
"""
ENDS = """
    INSERT INTO tallies (name, labels, bound, times, amount)
    SELECT 'phase_seconds', jsonb_build_object('phase', 'loading'), 60, 1, 33 FROM generate_series(1, 1000)
"""


def fill(url: str, jobs: int) -> None:
    """Store so many jobs like the one that is there, two in a hundred not ended; and counts."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(COPIES, {"jobs": jobs})
        connection.execute(ENDS)
        connection.execute("VACUUM ANALYZE")  # as autovacuum does after as many changes


@contextmanager
def serving(jobs: int) -> Iterator[tuple[TestClient, str]]:
    """An API over a database of its own with so many jobs stored, and that database's URL."""
    with (
        tempfile.TemporaryDirectory(prefix="evalq-bench-") as folder,
        running_postgres(Path(folder) / "pg") as postgres,
        running_valkey(Path(folder) / "valkey") as redis_url,
        postgres.database() as url,
    ):
        settings = Settings(database_url=url, redis_url=redis_url, data_dir=Path(folder) / "data")
        app = create_app(settings)
        app.state.services.jobs.submit(submission(), "owner")
        fill(url, jobs)
        with TestClient(app, base_url="http://127.0.0.1") as client:
            yield client, url


def main() -> None:
    """Print the median and the slowest of some scrapes; fails where the median is over the bound."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with serving(jobs) as (client, _):
        seconds = [scraped(client) for _ in range(SCRAPES)]
    print(
        f"{jobs} jobs stored: {statistics.median(seconds):.4f} s a scrape, {max(seconds):.4f} s the slowest"
    )
    assert statistics.median(seconds) < MOST_SECONDS


def scraped(client: TestClient) -> float:
    """Seconds of one scrape."""
    begun = time.monotonic()
    assert client.get("/metrics").status_code == 200
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
