"""SIGTERM to every part while a job runs: it ends soon, and gives back at once what it holds."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.client import eventually
from tests.e2e.stack import Stack, settings
from tests.faults.model import make_model
from tests.servers import Postgres

CHUNK_SECONDS = 10.0
"""More than a chunk takes here."""


class Service(Stack):
    """A stack with a job that lasts minutes, and a look at its rows."""

    database_url: str
    job_id: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query).fetchall()

    def terminate(self, part: str, seconds: float) -> int:
        """SIGTERM; how it ends, which must be in time."""
        self.parts[part].send_signal(signal.SIGTERM)
        return self.parts[part].wait(seconds)

    def evaluating(self) -> None:
        self.until(self.job_id, lambda job: job["phase"] == "evaluating" and job["progress"]["done"] > 0)

    def statuses(self, table: str, column: str = "status") -> set[str]:
        return {row[0] for row in self.rows(f"SELECT {column} FROM {table}")}  # noqa: S608


@pytest.fixture(scope="module")
def service(
    postgres: Postgres, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    model = make_model(folder / "models" / "tiny")
    with (
        postgres.database() as database_url,
        Service(settings(database_url, redis_url, folder, model.parent), folder) as running,
    ):
        running.database_url = database_url
        running.job_id = running.submit(
            {
                "model": "echo",
                "model_args": {"pretrained": str(model), "delay_seconds": 0.1},
                "tasks": ["e2e_choice"],
                "batch_size": 4,
                "reuse_responses": False,
            }
        )
        yield running
        running.http.post(f"/jobs/{running.job_id}/cancel")


def soon(look: Callable[[], bool], what: str, seconds: float = 3.0) -> None:
    eventually(look, seconds, what)


def test_a_coordinator_gives_its_job_back_within_seconds(service: Service) -> None:
    service.evaluating()
    service.parts["coordinator"].send_signal(signal.SIGTERM)
    soon(lambda: service.statuses("jobs") == {"queued"}, "the job back in the queue")
    assert service.statuses("jobs", "reason") == {"its coordinator is shutting down"}
    assert service.parts["coordinator"].wait(15) == 0
    service.start("coordinator")
    service.until(service.job_id, lambda job: job["phase"] == "evaluating")


def test_a_gpu_worker_leaves_within_a_chunk_and_frees_its_devices(service: Service) -> None:
    service.evaluating()
    assert service.terminate("worker", CHUNK_SECONDS) == 0
    assert service.statuses("replicas") == {"released"}
    assert service.statuses("devices", "state") == {"free"}
    assert "claimed" not in service.statuses("chunks")
    service.start("worker")


def test_a_scheduler_leaves_at_once_and_lets_go_of_the_lead(service: Service) -> None:
    assert service.terminate("scheduler", 5) == 0
    assert service.rows("SELECT FROM pg_locks WHERE locktype = 'advisory'") == []
    service.start("scheduler")


def test_an_api_ends_its_streams_and_leaves(service: Service) -> None:
    url = f"{service.http.base_url}jobs/{service.job_id}/events"
    with httpx.stream("GET", url, headers={"Accept": "text/event-stream"}, timeout=30) as stream:
        lines = stream.iter_lines()
        next(lines)
        began = time.monotonic()
        assert service.terminate("api", 8) == -signal.SIGTERM  # uvicorn ends in order, and then by the signal
        list(lines)
    assert time.monotonic() - began < 8
    service.start("api")
    service.await_ready()
