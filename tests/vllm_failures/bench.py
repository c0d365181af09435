"""Runs engines that fail as a gpu worker runs them, each on a database of its own."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID

import psutil
from sqlalchemy import text

from app.backends import BACKENDS
from app.db.replicas import ReplicaRepository
from app.domain.chunk import Chunk
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure
from app.domain.job import Phase
from app.domain.lease import Lease
from app.domain.placement import Start
from app.domain.replica import Replica
from app.services.remedies import RemedyService
from app.settings import Settings
from tests.jobs import submission
from tests.vllm_failures.case import Ask, Case
from tests.vllm_failures.left import processes, title
from tests.world import FINGERPRINT, TTL, World, chunk, ignore
from workers.gpu_worker.group import EngineCommand, GroupDevices
from workers.gpu_worker.spares import SpareEngines
from workers.gpu_worker.worker import ReplicaSupervisor
from workers.protocol.payload import pack_requests

PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 0.05


class Slots(GroupDevices):
    """The worker's own devices; an engine may be started behind a line of shell."""

    def __init__(self, settings: Settings, before: str) -> None:
        super().__init__(settings)
        self._before = before

    def engine_command(self, replica: Replica) -> EngineCommand:
        """As the worker starts it."""
        command = super().engine_command(replica)
        if not self._before:
            return command
        line = f"{self._before}; exec {shlex.join(command.argv)}"
        return replace(command, argv=("unshare", "--mount", "sh", "-ec", line))


class Bench:
    """A job of one engine spec, and a replica of it on the slots of one worker."""

    def __init__(self, world: World, settings: Settings, case: Case, engine: EngineSpec) -> None:
        self._world = world
        self._case = case
        self._engine = engine
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        slots = Slots(settings, case.before)
        self._supervisor = ReplicaSupervisor(
            serving=world.serving,
            devices=slots,
            spares=SpareEngines(devices=slots, settings=settings),
            settings=settings,
            stopping=self._stopping,
        )
        self._job_id = self._job().id
        self.replica_id = self._placed(slots)

    def run(self) -> float:
        """Run the case to the replica's end; how many seconds that took from what was done."""
        self._acted_at = time.monotonic()
        self._run: Future[None] = self._pool.submit(self._supervisor.run, self.replica_id, "worker")
        try:
            if self._case.act:
                self._case.act(self)
            while not (self.over or self._settled() or self._idle()):
                time.sleep(PAUSE_SECONDS)
            seconds = time.monotonic() - self._acted_at
        finally:
            self._stopping.set()
            self._run.result(PATIENCE_SECONDS)
            self._pool.shutdown()
        return seconds

    @property
    def over(self) -> bool:
        """Whether the replica has ended."""
        return self._run.done()

    def await_answering(self) -> None:
        """Until one chunk is answered and another one in hand."""
        self._await(lambda: {"answered", "claimed"} <= self._statuses())

    def await_process(self, name: str) -> None:
        """Until one of its processes has this in its title."""
        self._await(lambda: self._named(name))

    def signal(self, number: int, name: str) -> None:
        """Send a signal to the newest of its processes whose title has this in it; the seconds count from now on."""
        self.await_process(name)
        self._named(name)[-1].send_signal(number)
        self._acted_at = time.monotonic()

    def _await(self, holds: Callable[[], object]) -> None:
        """Until it holds while the engine runs and has something to do."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert not self.over, f"the engine has ended: {self.told()}"
            assert not self._settled(), f"nothing is left to do: {self._statuses()}"
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(PAUSE_SECONDS)

    def told(self) -> tuple[Failure | None, str]:
        """How it failed, if it did, and what is tried next."""
        job = self._world.jobs.view(self._job_id).job
        remedies = RemedyService(sessions=self._world.sessions, wake=ignore, ttl=TTL)
        troubles = remedies.troubles(job)
        if not troubles.failed:
            refusal = self._refusal()
            return refusal, "the request fails alone" if refusal else "nothing: it goes well"
        newest = troubles.failed[0]
        assert newest.error
        if newest.serving_at:
            return newest.error, "a new engine goes on"
        remedy = troubles.remedy(self._engine, BACKENDS[self._engine.backend].remedy)
        again = "none" if troubles.verdict() else "started once more"
        return newest.error, remedy.change if remedy else again

    def _refusal(self) -> Failure | None:
        with self._world.sessions.begin() as session:
            error = session.scalars(text("SELECT error FROM chunks WHERE error IS NOT NULL")).first()
        return Failure.from_json(error) if error else None

    def _idle(self) -> bool:
        """Whether it has come up and is asked nothing."""
        with self._world.sessions.begin() as session:
            status = session.scalar(text("SELECT status FROM replicas"))
        return not self._case.asks and status == "serving"

    def _settled(self) -> bool:
        """Whether every request has an answer or a failure, where there are requests."""
        statuses = self._statuses()
        return bool(statuses) and not statuses & {"waiting", "claimed"}

    def _statuses(self) -> set[str]:
        with self._world.sessions.begin() as session:
            return set(session.scalars(text("SELECT status FROM chunks")))

    def _named(self, name: str) -> list[psutil.Process]:
        return [each for each in processes(self.replica_id) if name in title(each)]

    def _job(self) -> Lease:
        world = self._world
        job, _ = world.jobs.submit(replace(submission(), engine=self._engine), "alice")
        claimed = world.coordination.claim(job.id, "coordinator")
        assert claimed
        lease, _ = claimed
        asks = self._case.asks
        requests = sum(len(ask.requests) for ask in asks)
        world.coordination.prepared(lease, FINGERPRINT, [("toy", requests)], {})
        chunks = (_chunk(job.id, position, ask) for position, ask in enumerate(asks))
        world.coordination.store_plan(lease, chunks, 0)
        world.coordination.enter(lease, Phase.EVALUATING, "evaluating")
        return lease

    def _placed(self, slots: Slots) -> UUID:
        world, reports = self._world, slots.reports()
        world.groups.register(
            name=slots.group, host="node1", kind="cpu", backends=["vllm-cpu"], version="0", reports=reports
        )
        for report in reports:
            world.mark(report.id)
        devices = [report.id for report in reports][: self._engine.gpus]
        with world.sessions.begin() as session:
            placed = ReplicaRepository(session).place(Start(slots.group, tuple(devices), self._engine))
        assert placed
        return placed


def _chunk(job_id: UUID, position: int, ask: Ask) -> Chunk:
    keys = tuple(b"%d/%d" % (position, place) for place in range(len(ask.requests)))
    return replace(
        chunk(job_id, position),
        kind=ask.kind,
        gen_kwargs=ask.gen_kwargs,
        keys=keys,
        payload=pack_requests(ask.requests),
    )
