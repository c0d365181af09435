"""How long a list of 50 jobs takes where 100,000 are stored, two thousand of them not ended.

.venv/bin/python -m benchmarks.listing [jobs]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from benchmarks.scrape import fill
from tests.jobs import submission
from tests.servers import running_postgres, running_valkey

CALLS = 50
MOST_SECONDS = 0.03
OUTLINES = "UPDATE jobs SET outline = jsonb_build_object('model', spec->'model', 'tasks', spec->'tasks')"
QUERIES = ("", "status=succeeded", "owner=owner7", "status=queued", "fields=spec,plan")


def main() -> None:
    """Print the median and the slowest of each list; fails where the median of the plain one is over the bound."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
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
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(OUTLINES)
            connection.execute("VACUUM ANALYZE jobs")
        with TestClient(app, base_url="http://127.0.0.1") as client:
            medians = [told(client, f"/v1/jobs?limit=50&{query}") for query in QUERIES]
    assert medians[0] < MOST_SECONDS


def told(client: TestClient, path: str) -> float:
    """The median of some calls, printed with the slowest and the size of the answer."""
    seconds = [called(client, path) for _ in range(CALLS)]
    size = len(client.get(path).content)
    print(f"{path}: {statistics.median(seconds):.4f} s, {max(seconds):.4f} s the slowest, {size} bytes")
    return statistics.median(seconds)


def called(client: TestClient, path: str) -> float:
    """Seconds of one list."""
    begun = time.monotonic()
    assert client.get(path).status_code == 200
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
