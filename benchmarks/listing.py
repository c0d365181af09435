"""How long a list of 50 jobs takes where 100,000 are stored, two thousand of them not ended, of 300 models.

.venv/bin/python -m benchmarks.listing [jobs]
"""

from __future__ import annotations

import statistics
import sys
import time

import psycopg
from fastapi.testclient import TestClient

from benchmarks.scrape import serving

CALLS = 50
MOST_SECONDS = 0.03
OUTLINES = "UPDATE jobs SET outline = jsonb_build_object('model', spec->'model', 'tasks', spec->'tasks')"
MODELS = "UPDATE jobs SET engine = jsonb_set(engine, '{model}', to_jsonb('/models/' || abs(hashtext(id::text)) % 300))"
QUERIES = (
    "",
    "status=succeeded",
    "owner=owner7",
    "status=queued",
    "fields=spec,plan",
    "model=DELS/29",
    "model=absent",
)


def main() -> None:
    """Print the median and the slowest of each list; fails where the median of the plain one is over the bound."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with serving(jobs) as (client, url):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(OUTLINES)
            connection.execute(MODELS)
            connection.execute("VACUUM ANALYZE jobs")
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
