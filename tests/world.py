"""Every service over the test's own database, and the shortest ways to the states that tests start from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from app.db.replicas import ReplicaRepository
from app.db.session import Sessions
from app.domain.chunk import AfterFailure, Chunk, after_failure, parts
from app.domain.failure import Failure
from app.domain.group import DeviceReport
from app.domain.ids import uuid7
from app.domain.job import Phase
from app.domain.lease import Lease
from app.domain.placement import Start
from app.domain.replica import DeviceState
from app.services.coordination import CoordinationService
from app.services.groups import GroupService
from app.services.jobs import JobService
from app.services.results import ResultService
from app.services.scheduling import SchedulingService
from app.services.serving import ServingService
from app.settings import Settings
from tests.jobs import Bell, submission

TTL = timedelta(seconds=60)
FINGERPRINT = b"f" * 32
ENGINE = submission().engine


def ignore(_: UUID) -> None:
    """Nobody is to be woken."""


@dataclass
class World:
    """Every service; a method for each state."""

    sessions: Sessions
    bell: Bell
    jobs: JobService
    coordination: CoordinationService
    serving: ServingService
    scheduling: SchedulingService
    groups: GroupService
    results: ResultService

    def submit(self, **spec: object) -> UUID:
        """A queued job; alice's, unless an `owner` is named."""
        owner = str(spec.pop("owner", "alice"))
        job, _ = self.jobs.submit(submission(**spec), owner)  # type: ignore[arg-type]
        return job.id

    def running(self, chunks: int = 0, **spec: object) -> Lease:
        """A job in a coordinator's hands, evaluating, with so many chunks of two requests."""
        claimed = self.coordination.claim(self.submit(**spec), "coordinator")
        assert claimed
        lease, _ = claimed
        self.coordination.prepared(lease, FINGERPRINT, [("toy", 2 * chunks)], {})
        self.coordination.store_plan(lease, (chunk(lease.id, position) for position in range(chunks)), 0)
        self.coordination.enter(lease, Phase.EVALUATING, "evaluating")
        return lease

    def devices(self, count: int, group: str = "a", backend: str = "hf") -> list[str]:
        """A group of free devices."""
        prefix = "GPU" if group == "a" else f"GPU-{group}"
        reports = [DeviceReport(f"{prefix}-{index}", index, "H100") for index in range(count)]
        self.groups.register(
            name=group, host="node1", kind="gpu", backends=[backend], version="0", reports=reports
        )
        for report in reports:
            self.mark(report.id)
        return [report.id for report in reports]

    def silence(self, group: str) -> None:
        """The worker of the group has not been heard of for long."""
        with self.sessions.begin() as session:
            statement = "UPDATE gpu_groups SET heartbeat_at = now() - interval '1 day' WHERE name = :name"
            session.execute(text(statement), {"name": group})

    def settle(self, group: str) -> None:
        """The worker of the group began long ago."""
        with self.sessions.begin() as session:
            statement = (
                "UPDATE gpu_groups SET worker_started_at = now() - interval '1 day' WHERE name = :name"
            )
            session.execute(text(statement), {"name": group})

    def mark(self, device: str, state: DeviceState = DeviceState.FREE) -> None:
        """The worker of the device's group has looked at it."""
        query = (
            "SELECT worker_token FROM gpu_groups JOIN devices ON group_name = gpu_groups.name WHERE id = :id"
        )
        with self.sessions.begin() as session:
            token = session.scalar(text(query), {"id": device})
        self.groups.mark_device(device, token, state, None if state is DeviceState.FREE else "seen")

    def replica(self, device: str, group: str = "a") -> Lease:
        """A replica on this device, in a worker's hands."""
        claimed = self.serving.claim(self.placed(device, group=group), "worker")
        assert claimed
        return claimed[0]

    def placed(self, *devices: str, group: str = "a") -> UUID:
        with self.sessions.begin() as session:
            replica_id = ReplicaRepository(session).place(Start(group, devices, ENGINE))
        assert replica_id
        return replica_id

    def fail(self, replica: Lease, chunk: Chunk, error: Failure) -> AfterFailure:
        """The engine could not answer the chunk."""
        counted, fate = after_failure(chunk, interrupted=False)
        divided = parts(len(chunk.keys), fate) if fate in {AfterFailure.PROBE, AfterFailure.HALVE} else []
        keys = [tuple(chunk.keys[place] for place in places) for places in divided]
        self.serving.chunk_failed(
            replica, counted, fate, [replace(counted, keys=some) for some in keys], error
        )
        return fate

    def expire(self, lease: Lease) -> None:
        """The lease is over by the database's clock."""
        with self.sessions.begin() as session:
            for table in ("jobs", "replicas"):
                statement = f"UPDATE {table} SET lease_expires_at = now() - interval '1s' WHERE id = :id"  # noqa: S608
                session.execute(text(statement), {"id": lease.id})

    def events(self, job_id: UUID) -> list[tuple[int, str]]:
        return [(event.id, event.type) for event in self.jobs.events(job_id, 0)]


def chunk(job_id: UUID, position: int) -> Chunk:
    return Chunk(
        id=uuid7(),
        job_id=job_id,
        position=position,
        kind="loglikelihood",
        batch_size=1,
        gen_kwargs=None,
        seed=None,
        cost=10.0,
        keys=(b"%d/0" % position, b"%d/1" % position),
        payload=b"...",
    )


def make_world(sessions: Sessions, settings: Settings) -> World:
    """Every service over this database."""
    bell = Bell()
    return World(
        sessions=sessions,
        bell=bell,
        jobs=JobService(sessions=sessions, doorbell=bell),
        coordination=CoordinationService(sessions=sessions, wake=ignore, ttl=TTL),
        serving=ServingService(sessions=sessions, ttl=TTL),
        scheduling=SchedulingService(sessions=sessions, doorbell=bell, settings=settings),
        groups=GroupService(sessions=sessions),
        results=ResultService(sessions=sessions),
    )
