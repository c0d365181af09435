"""What a worker process keeps between its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from app.db.session import make_sessions
from app.domain.chunk import Chunk
from app.domain.lease import Lease, Order
from app.services.coordination import INSERT_AT_ONCE
from app.settings import Settings
from tests.world import World, chunk, make_world
from workers.tasks import with_connections_enough

JOBS = 4


def test_every_job_of_a_coordinator_is_renewed_while_all_of_them_store_their_plans(
    world: World, settings: Settings
) -> None:
    few = {"worker_role": "coordinator", "coordinator_jobs": JOBS, "database_pool": 1}
    sessions = make_sessions(with_connections_enough(settings.model_copy(update=few)))
    worker = make_world(sessions, settings)
    leases = [world.running() for _ in range(JOBS)]
    storing, done = [Event() for _ in leases], Event()

    def chunks(lease: Lease, begun: Event) -> Iterator[Chunk]:
        for position in range(INSERT_AT_ONCE + 1):
            yield chunk(lease.id, position)
        begun.set()
        done.wait(30)

    with ThreadPoolExecutor(JOBS) as pool:
        plans = [
            pool.submit(worker.coordination.store_plan, lease, chunks(lease, begun), 0)
            for lease, begun in zip(leases, storing, strict=True)
        ]
        assert all(begun.wait(30) for begun in storing)
        assert [worker.coordination.renew(lease) for lease in leases] == [Order.GO_ON] * JOBS
        done.set()
        assert [plan.result() for plan in plans] == [INSERT_AT_ONCE + 1] * JOBS
    sessions.close()
