"""How long a claim of chunks takes with 100 jobs in line, and with 10,000 and a million chunks, as rows of Markdown.

    .venv/bin/python -m benchmarks.claims [--jobs 10000] [--rounds 12]

A real Postgres, filled in bulk; a replica takes what it has room for again and again, each time answering it at once.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Insert, Integer, Text, cast, column, func, insert, select, text, update
from sqlalchemy.orm import aliased

from app.db.session import make_sessions
from app.db.tables import Base, ChunkRow, JobRow
from app.domain.chunk import Room
from app.domain.lease import Lease
from app.services.serving import Answer, ServingService
from app.settings import Settings
from benchmarks.service import timed
from tests.servers import Postgres, running_postgres
from tests.world import ENGINE, World, make_world

FEW = 100
CHUNKS = 100
"""Of each job."""

ROOMS = {
    "one at a time": Room(cost=1e6, chunks=1),
    "streaming": Room(cost=1e6, chunks=64, requests=16),
}


@dataclass(frozen=True)
class Crowd:
    """So many jobs, that need one engine, or each another."""

    jobs: int
    apart: bool


def fill(world: World, crowd: Crowd) -> UUID:
    """Jobs that run, with all their chunks waiting; returns a replica that nobody has claimed."""
    first = world.running(CHUNKS).id
    number = column("number", Integer)
    numbers = func.generate_series(2, crowd.jobs).table_valued(number, name="numbers").render_derived()
    key = func.md5(cast(numbers.c.number, Text)) if crowd.apart else JobRow.engine_key
    job = aliased(JobRow)
    with world.sessions.begin() as session:
        jobs = {"id": func.gen_random_uuid(), "turn": numbers.c.number, "engine_key": key}
        session.execute(again(JobRow, jobs, JobRow.id == first))
        chunks = {"id": func.gen_random_uuid(), "job_id": job.id}
        session.execute(again(ChunkRow, chunks, ChunkRow.job_id == first, job.id != first))
        session.execute(update(JobRow).where(JobRow.id == first).values(turn=1))
        session.execute(text("ANALYZE jobs, chunks"))
    (device,) = world.devices(1)
    return world.placed(device)


def again(row: type[Base], others: dict[str, Any], *which: ColumnElement[bool]) -> Insert:
    """The row once more for each of what the other columns come from."""
    names = [each.name for each in row.__table__.columns]
    values = [others.get(name, getattr(row, name)) for name in names]
    return insert(row).from_select(names, select(*values).where(*which))


def milliseconds(world: World, replica_id: UUID, room: Room, rounds: int) -> float:
    """The median of so many claims."""
    claimed = world.serving.claim(replica_id, "worker")
    assert claimed
    lease = claimed[0]
    world.serving.loaded(lease, {})
    return statistics.median(once(world, lease, room) for _ in range(min(rounds, CHUNKS // 8))) * 1000


def once(world: World, lease: Lease, room: Room) -> float:
    """Seconds of one claim; what it gave is answered."""
    found: list[Any] = []
    seconds = timed(lambda: found.extend(world.serving.next(lease, ENGINE.key, room).chunks))
    assert found
    for each in found:
        world.serving.answer(lease, each, Answer([b""] * len(each.chunk.keys), 0.1, 1))
    return seconds


@contextmanager
def filled(postgres: Postgres, crowd: Crowd) -> Iterator[tuple[World, UUID]]:
    """A database with this crowd, and its replica."""
    with postgres.database() as url, tempfile.TemporaryDirectory() as folder:
        settings = Settings(database_url=url, data_dir=Path(folder))
        sessions = make_sessions(settings)
        patient = ServingService(sessions=sessions, ttl=timedelta(hours=1))
        world = replace(make_world(sessions, settings), serving=patient)
        yield world, fill(world, crowd)
        sessions.kw["bind"].dispose()


def main() -> None:
    """Fill, claim and print the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=12)
    told = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="evalq-bench-") as folder,
        running_postgres(Path(folder)) as postgres,
    ):
        for apart in (False, True):
            for name, room in ROOMS.items():
                taken = []
                for jobs in (FEW, told.jobs):
                    with filled(postgres, Crowd(jobs, apart)) as (world, replica_id):
                        taken.append(milliseconds(world, replica_id, room, told.rounds))
                engines = "each another engine" if apart else "one engine"
                few, many = taken
                print(f"| {name}, {engines} | {few:.1f} ms | {many:.1f} ms | {many / few:.2f} |", flush=True)


if __name__ == "__main__":
    main()
