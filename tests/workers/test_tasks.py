"""What a worker process keeps between its tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from unittest.mock import Mock

import pytest
from sqlalchemy import text

from app.db.session import make_sessions
from app.domain.lease import Order
from app.settings import Settings
from tests.servers import Postgres
from tests.waiting import until
from tests.workloads.lm_eval.reading.desk import Desk
from tests.workloads.lm_eval.reading.test_groups import group
from tests.world import World, make_world
from workers.coordinator import waiting
from workers.tasks import CoordinatorRole, with_connections_enough

JOBS = 4
WORKER = [sys.executable, "-P", "-m", "workers", "-Q", "coordinator", "-n", "x@%h"]


def test_every_job_of_a_coordinator_is_renewed_while_all_of_them_write(
    world: World, settings: Settings
) -> None:
    few = {"worker_role": "coordinator", "coordinator_jobs": JOBS, "database_pool": 1}
    sessions = make_sessions(with_connections_enough(settings.model_copy(update=few)))
    worker = make_world(sessions, settings)
    leases = [world.running() for _ in range(JOBS)]
    writing, done = [Event() for _ in leases], Event()

    def write(begun: Event) -> None:
        with sessions.begin() as session:
            session.execute(text("SELECT 1"))
            begun.set()
            done.wait(30)

    with ThreadPoolExecutor(JOBS) as pool:
        writers = [pool.submit(write, begun) for begun in writing]
        assert all(begun.wait(30) for begun in writing)
        assert [worker.coordination.renew(lease) for lease in leases] == [Order.GO_ON] * JOBS
        done.set()
        assert [writer.result() for writer in writers] == [None] * JOBS
    sessions.close()


def test_a_coordinator_lets_jobs_in_whose_capacity_has_come(
    world: World, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    desk = Desk(tmp_path, [group("a", "hf")])
    job, _ = world.jobs.submit(desk.submit(group="big", wait_for_capacity=True), "alice")
    roots = {"model_paths": desk.settings.model_paths, "task_paths": desk.settings.task_paths}
    role = CoordinatorRole(settings.model_copy(update=roots), world.sessions)
    monkeypatch.setattr(role, "_coordinator", Mock())  # its fork server is another test's
    role.begin()
    try:
        world.devices(1, "big")
        until(lambda: world.jobs.view(job.id).job.waits_for is None)
    finally:
        role.wind_down()
    assert world.coordination.claim(job.id, "coordinator")


def test_a_worker_that_cannot_begin_ends_and_says_so(postgres: Postgres, redis_url: str) -> None:
    with postgres.database("template0") as of_no_version:
        told = {"EVALQ_DATABASE_URL": of_no_version, "EVALQ_REDIS_URL": redis_url}
        env = os.environ | told | {"EVALQ_WORKER_ROLE": "coordinator"}
        ended = subprocess.run(WORKER, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    assert "this worker cannot begin" in ended.stdout + ended.stderr
