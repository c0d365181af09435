"""How soon a client hears of an event: 1,000 streams while ten jobs progress, the client on the same processors.

.venv/bin/python -m benchmarks.streams [--streams 1000] [--all] [--code FOLDER]

Streams of single jobs, a hundred of each; with --all, of all jobs. --code: the checkout whose API is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from app.broker import CeleryDoorbell
from app.db.session import make_sessions
from app.domain.job import Phase
from app.services.coordination import CoordinationService, Progress
from app.services.jobs import JobService
from app.settings import Settings
from app.single_host.ports import free_port
from benchmarks.service import servers
from tests.client import Client, eventually
from tests.jobs import submission

JOBS = 10
OPENING = 50
"""Connections that are begun at once."""
SECONDS = 15.0
IDLE_SECONDS = 15.0
HERE = Path(__file__).parents[1]
HEAD = "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"


@dataclass
class Heard:
    """Seconds from an event's time to its arrival, of those that came while streams opened and after."""

    opening: list[float] = field(default_factory=list)
    open: list[float] = field(default_factory=list)
    all_open: bool = False

    def note(self, line: bytes, since: float) -> None:
        """A line of a stream; what happened before the stream was asked for does not count."""
        if b'"job.progress"' in line:
            at = line.partition(b'"at":"')[2].partition(b'"')[0].decode()
            happened = datetime.fromisoformat(at).timestamp()
            if happened > since:
                (self.open if self.all_open else self.opening).append(time.time() - happened)


@dataclass
class Running:
    """Jobs that progress once a second until they are told to stop."""

    jobs: list[UUID]
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def progressing(settings: Settings) -> Iterator[Running]:
    """Ten jobs in the hands of a coordinator; each tells how far it is once a second."""
    sessions, bell = make_sessions(settings), CeleryDoorbell(settings)
    jobs = JobService(sessions=sessions, doorbell=bell)
    coordination = CoordinationService(sessions=sessions, wake=bell.wake, ttl=timedelta(hours=1))
    leases = []
    for _ in range(JOBS):
        job, _ = jobs.submit(submission(), "owner")
        claimed = coordination.claim(job.id, "benchmark")
        assert claimed
        leases.append(claimed[0])
        coordination.prepared(claimed[0], b"f" * 32, [("toy", 100_000)], {})
        coordination.enter(claimed[0], Phase.EVALUATING, "evaluating")
    running = Running([lease.id for lease in leases])

    def write() -> None:
        done = 0
        while not running.stop.is_set():
            done += 1
            for lease in leases:
                told = {"done": done, "total": 100_000, "percent": 0.1, "tasks": {"toy": done}}
                coordination.progress(lease, Progress(done, {"toy": done}, {}), told, 0.0)
                running.stop.wait(1.0 / JOBS)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield running
    finally:
        running.stop.set()
        writer.join()
        sessions.close()


@contextmanager
def api(env: dict[str, str], code: Path) -> Iterator[tuple[int, int]]:
    """The port and process id of an API of that code."""
    port = free_port()
    told = os.environ | env | {"PYTHONPATH": str(code), "EVALQ_STREAMS": "0"}
    command = [sys.executable, "-m", "app.cli", "api", "--port", str(port)]
    process = subprocess.Popen(command, env=told, cwd=env["EVALQ_DATA_DIR"], stderr=subprocess.DEVNULL)
    try:
        client = Client(port, env["EVALQ_DATA_DIR"])
        eventually(client.api_ready, 60, "a ready API")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)


async def listen(port: int, path: str, heard: Heard, turns: asyncio.Semaphore, open_: list[float]) -> None:
    """One stream; it counts as open when its head has come."""
    async with turns:
        since = time.time()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD.format(path=path).encode())
        assert b"200" in await reader.readline()
        open_.append(time.time() - since)
    while line := await reader.readline():
        heard.note(line, since)


async def measure(port: int, pid: int, paths: list[str], running: Running) -> None:
    """Open all, listen, and be idle; print what was heard and what it cost."""
    heard, opened, turns = Heard(), list[float](), asyncio.Semaphore(OPENING)
    begun = time.monotonic()
    streams = [asyncio.create_task(listen(port, path, heard, turns, opened)) for path in paths]
    while len(opened) < len(paths):
        await asyncio.sleep(0.05)
    seconds = time.monotonic() - begun
    print(
        f"  opened in {seconds:.1f} s, each in {statistics.median(opened):.3f} s, {max(opened):.2f} s the slowest"
    )
    await asyncio.sleep(1.0)
    heard.all_open, before = True, cpu(pid)
    await asyncio.sleep(SECONDS)
    print(f"  while they open: {told(heard.opening)}\n  when all are:    {told(heard.open)}")
    print(f"  processor of the API: {(cpu(pid) - before) / SECONDS:.1%} of a core", end="")
    running.stop.set()
    await asyncio.sleep(2.0)
    before = cpu(pid)
    await asyncio.sleep(IDLE_SECONDS)
    print(f", {(cpu(pid) - before) / IDLE_SECONDS:.1%} when nothing happens")
    for stream in streams:
        stream.cancel()


def told(seconds: list[float]) -> str:
    """The spread of what was heard."""
    cuts = statistics.quantiles(seconds, n=100)
    return (
        f"median {cuts[49]:.3f} s, p99 {cuts[98]:.3f} s, {max(seconds):.3f} s the slowest of {len(seconds)}"
    )


def cpu(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the measures of one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--code", type=Path, default=HERE)
    asked = parser.parse_args()
    with servers() as (_, env):
        settings = Settings(database_url=env["EVALQ_DATABASE_URL"], redis_url=env["EVALQ_REDIS_URL"])
        Path(env["EVALQ_DATA_DIR"]).mkdir()
        with api(env, asked.code) as (port, pid), progressing(settings) as running:
            own = [f"/v1/jobs/{job_id}/events" for job_id in running.jobs]
            paths = ["/v1/events"] if asked.all else own
            wanted = [paths[at % len(paths)] for at in range(asked.streams)]
            print(f"{asked.streams} streams of {'all jobs' if asked.all else 'ten jobs'}:")
            asyncio.run(measure(port, pid, wanted, running))


if __name__ == "__main__":
    main()
