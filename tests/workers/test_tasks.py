"""What a worker process keeps between its tasks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from sqlalchemy import text

from app.db.session import make_sessions
from app.domain.lease import Order
from app.settings import Settings
from tests.world import World, make_world
from workers.tasks import with_connections_enough

JOBS = 4


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
