"""Where the time of a job goes: its moments in seconds since it was posted, cold and warm, as a Markdown table.

    .venv/bin/python -m benchmarks.timeline [--backend hf] [--requests 1500] [--rounds 3]

The moments are noted by triggers in the benchmark's own database, so that what is measured does nothing more. A column
shows medians; *busy* is the engine's share of the time from the post to the end.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import psycopg

from app.settings import Settings
from benchmarks.main_job import body, cool_down
from benchmarks.service import run, service
from benchmarks.vllm_speed import ARGS
from tests.e2e.stack import Stack
from tests.tiny_models import tiny_llama, tiny_vllm_llama

NOTED = """
CREATE TABLE moments (job_id uuid, what text, at timestamptz DEFAULT clock_timestamp(), seconds float);
CREATE FUNCTION note_chunk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO moments (job_id, what, seconds) VALUES (NEW.job_id, 'chunk ' || NEW.status, NEW.seconds);
  RETURN NULL;
END $$;
CREATE FUNCTION note_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.phase IS DISTINCT FROM OLD.phase OR NEW.status <> OLD.status THEN
    INSERT INTO moments (job_id, what) VALUES (NEW.id, coalesce(NEW.phase, NEW.status));
  END IF;
  IF NEW.requests_total IS DISTINCT FROM OLD.requests_total THEN
    INSERT INTO moments (job_id, what) VALUES (NEW.id, 'built');
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER note_chunk AFTER INSERT OR UPDATE OF status ON chunks FOR EACH ROW EXECUTE FUNCTION note_chunk();
CREATE TRIGGER note_job AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note_job();
"""
MOMENTS = """
SELECT what, extract(epoch FROM min(at) - j.created_at)::float, extract(epoch FROM max(at) - j.created_at)::float,
  coalesce(sum(seconds), 0)::float, count(*)
FROM moments JOIN jobs j ON j.id = job_id WHERE job_id = %s GROUP BY what, j.created_at
"""

Row = Mapping[str, float]


def bodies(backend: str, requests: int) -> dict[str, Any]:
    """The job on this backend."""
    cache = Settings().cache_dir
    if backend == "vllm":
        posted = body(tiny_vllm_llama(cache), requests) | {"model": "vllm"}
        return posted | {"model_args": {"pretrained": posted["model_args"]["pretrained"], **ARGS}}
    return body(tiny_llama(cache), requests) | {"model": backend}


def told(database_url: str, job_id: str) -> Row:
    """The moments of a job that has ended."""
    with psycopg.connect(database_url) as connection:
        found = {row[0]: row[1:] for row in connection.execute(MOMENTS, [UUID(job_id)]).fetchall()}
    first = {what: row[0] for what, row in found.items()}
    _, last_answer, engine, chunks = found["chunk answered"]
    return {
        "claimed by a coordinator": first["preparing"],
        "all prompts built": first["built"],
        "first chunk stored": first["chunk waiting"],
        "last chunk stored": found["chunk waiting"][1],
        "first chunk claimed": first["chunk claimed"],
        "first answer": first["chunk answered"],
        "last answer": last_answer,
        "scoring": first["scoring"],
        "end": first["succeeded"],
        "chunks": float(chunks),
        "engine's seconds": engine,
        "busy": engine / first["succeeded"],
    }


def once(stack: Stack, posted: dict[str, Any]) -> Row:
    """The job, followed to its end."""
    return told(stack.database_url, run(stack, posted))


def middle(rows: list[Row]) -> Row:
    """Medians."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", default="hf")
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    posted = bodies(given.backend, given.requests)
    cold, warm = [], []
    with service(EVALQ_IDLE_SECONDS="4", EVALQ_ECHO_ENGINE="true") as stack:
        with psycopg.connect(stack.database_url) as connection:
            connection.execute(NOTED)
        run(stack, posted)  # the first job of a service waits for its fork server
        for _ in range(given.rounds):
            cool_down(stack)
            cold.append(once(stack, posted))
            warm.append(once(stack, posted))
    print(f"| {given.backend}, {given.requests:,} requests | cold | warm |\n|---|---|---|")
    before, after = middle(cold), middle(warm)
    for name in before:
        print(f"| {name} | {before[name]:.2f} | {after[name]:.2f} |")


if __name__ == "__main__":
    main()
