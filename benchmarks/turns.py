"""What one turn of the scheduler costs with 10,000 jobs in line and 500 replicas at work, as rows of Markdown.

    .venv/bin/python -m benchmarks.turns [--jobs 10000] [--replicas 500] [--parked] [--rounds 9]

A real Postgres, filled in bulk; each job needs another engine. `--parked`: the jobs are prepared, and wait for engines.
The processor's time is that of the scheduler and of its connection's server process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from sqlalchemy import insert, select, text

from app.db.columns import Base
from app.db.session import make_sessions
from app.db.tables import ChunkRow, DeviceRow, GroupRow, JobRow, ReplicaRow
from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.settings import Settings
from tests.servers import Postgres, running_postgres
from tests.world import World, make_world

OWNERS = 50
IN_A_GROUP = 8
CHUNKS = 20
"""Of each job that runs."""


@dataclass(frozen=True)
class Load:
    """So many jobs in line, and so many that have an engine each."""

    jobs: int
    replicas: int
    parked: bool


class Filling:
    """Copies of one job with its chunks, and of one replica in its group."""

    def __init__(self, world: World) -> None:
        (device,) = world.devices(1)
        running = world.running(1).id
        replica = world.replica(device)
        world.serving.loaded(replica, {})
        self._world = world
        self._queued = self._one(JobRow, world.submit())
        self._running, self._replica = self._one(JobRow, running), self._one(ReplicaRow, replica.id)
        self._chunk = self._some(ChunkRow)[0]
        self._device, self._group = self._some(DeviceRow)[0], self._some(GroupRow)[0]

    def fill(self, load: Load) -> None:
        """Write it all."""
        groups = range((load.replicas + IN_A_GROUP - 1) // IN_A_GROUP)
        self._write(GroupRow, ({**self._group, "name": f"g{number}"} for number in groups))
        served = [self._serve(number) for number in range(load.replicas)]
        waiting = [
            self._job(self._running if load.parked else self._queued, number) for number in range(load.jobs)
        ]
        self._write(JobRow, [*served, *waiting])
        running = [*served, *(waiting if load.parked else ())]
        some = ((job["id"], place) for job in running for place in range(CHUNKS))
        self._write(
            ChunkRow, ({**self._chunk, "id": uuid7(), "job_id": job, "position": at} for job, at in some)
        )
        with self._world.sessions.begin() as session:
            session.execute(text("ANALYZE"))

    def _serve(self, number: int) -> dict[str, Any]:
        """One that has an engine."""
        job, replica, device = self._job(self._running, number), uuid7(), f"d{number}"
        engine = {
            "engine": job["engine"],
            "engine_key": job["engine_key"],
            "cost_done": 9.0,
            "busy_seconds": 1,
        }
        where = {"group_name": f"g{number // IN_A_GROUP}", "replica_id": replica}
        at = {"id": device, "index": number % IN_A_GROUP}
        self._write(ReplicaRow, [{**self._replica, **engine, **where, "id": replica, "devices": [device]}])
        self._write(DeviceRow, [{**self._device, **where, **at}])
        return job

    def _job(self, like: dict[str, Any], number: int) -> dict[str, Any]:
        """Of an engine of its own."""
        engine = replace(EngineSpec.from_json(like["engine"]), model=f"/models/{uuid7()}")
        whose = {"owner": f"owner{number % OWNERS}", "id": uuid7(), "idempotency_key": None}
        return {**like, **whose, "engine": engine.to_json(), "engine_key": engine.key}

    def _write(self, row: type[Base], values: Any) -> None:
        names = {column.name for column in row.__table__.columns}
        rows = [{name: each[name] for name in names if name in each} for each in values]
        with self._world.sessions.begin() as session:
            session.execute(insert(row), rows)

    def _some(self, row: type[Base]) -> list[dict[str, Any]]:
        with self._world.sessions.begin() as session:
            return [dict(found) for found in session.execute(select(*row.__table__.columns)).mappings()]

    def _one(self, row: type[Base], row_id: UUID) -> dict[str, Any]:
        return next(found for found in self._some(row) if found["id"] == row_id)


class Stopwatch:
    """Processor seconds of this process and of the server's processes."""

    def __init__(self, sessions: Any) -> None:
        with sessions.begin() as session:
            self._server = psutil.Process(session.scalar(text("SELECT pg_backend_pid()")))

    def of(self, step: Callable[[], object]) -> tuple[float, float]:
        """What a step takes: here, and there."""
        here, there = time.process_time(), self._used()
        step()
        return time.process_time() - here, self._used() - there

    def _used(self) -> float:
        used = self._server.cpu_times()
        return used.user + used.system


def steps(world: World) -> dict[str, Callable[[], object]]:
    """A turn's steps, with those that are done now and then."""
    service = world.scheduling
    return {
        "line_up_once, nobody came": service.line_up_once,
        "line_up_once, somebody came": lambda: world.submit() and service.line_up_once(),
        "place_once": service.place_once,
        "announce_once": service.announce_once,
        "expire_once": service.expire_once,
        "book_once (each 10th turn)": service.book_once,
        "tidy_once (each 120th turn)": service.tidy_once,
    }


@contextmanager
def filled(postgres: Postgres, load: Load) -> Iterator[World]:
    """A database under this load."""
    with postgres.database() as url, tempfile.TemporaryDirectory() as folder:
        sessions = make_sessions(Settings(database_url=url, data_dir=Path(folder), database_pool=1))
        world = make_world(sessions, Settings(database_url=url, data_dir=Path(folder), lease_seconds=3600))
        Filling(world).fill(load)
        yield world
        sessions.close()


def main() -> None:
    """Fill, turn and print the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--replicas", type=int, default=500)
    parser.add_argument("--parked", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    told = parser.parse_args()
    load = Load(told.jobs, told.replicas, told.parked)
    with (
        tempfile.TemporaryDirectory(prefix="evalq-bench-") as folder,
        running_postgres(Path(folder)) as postgres,
        filled(postgres, load) as world,
    ):
        watch, todo = Stopwatch(world.sessions), steps(world)
        for step in todo.values():
            step()
        for name, step in todo.items():
            taken = [watch.of(step) for _ in range(told.rounds)]
            here, there = (1000 * statistics.mean(some) for some in zip(*taken, strict=True))
            print(f"| {name} | {here:.0f} ms | {there:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
