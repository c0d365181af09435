"""Two groups, three owners, widths of one, two and four devices, priorities and a quota: who got devices when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from uuid import UUID

from app.db.replicas import ReplicaRepository
from app.domain.chunk import Room
from app.domain.engine_spec import EngineSpec
from app.domain.job import Phase
from app.domain.lease import Lease, Order
from app.domain.replica import Replica, ReplicaStatus
from app.services.scheduling import SchedulingService
from app.services.serving import Answer
from tests.clusters.conftest import Cluster
from tests.jobs import submission
from tests.world import FINGERPRINT, chunk

TEAMS = {"ann": "crowd", "bob": "lab", "cy": "shop"}
SECONDS = 10.0
"""Of an engine for each chunk: long beside what its loading is assumed to take."""


@dataclass
class Stage:
    """Workers that answer a chunk of each replica in each round, after the scheduler's turn."""

    cluster: Cluster
    scheduling: SchedulingService
    leases: dict[UUID, Lease] = field(default_factory=dict)
    names: dict[str, UUID] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    loads: int = 0

    def submit(self, name: str, owner: str, *, width: int = 1, chunks: int = 3, priority: int = 50) -> None:
        """A job for an engine of its own, with its chunks cut."""
        world, plain = self.cluster.world, submission(model=name, priority=priority, replicas=1)
        engine, plan = EngineSpec("hf", name, gpus=width), replace(plain.plan, gpus_per_replica=width)
        job, _ = world.jobs.submit(replace(plain, engine=engine, plan=plan), owner, team=TEAMS[owner])
        claimed = world.coordination.claim(job.id, "coordinator")
        assert claimed
        lease, _ = claimed
        world.coordination.prepared(lease, FINGERPRINT, [("toy", 2 * chunks)], {})
        cut = (replace(chunk(job.id, n), keys=(f"{name}/{n}".encode(),)) for n in range(chunks))
        world.coordination.store_plan(lease, cut, 0)
        world.coordination.enter(lease, Phase.EVALUATING, "evaluating")
        self.names[name] = job.id

    def round(self) -> set[str]:
        """Returns which models are loaded after the scheduler's turn."""
        self.scheduling.line_up_once()
        self.scheduling.place_once()
        there = self._live()
        for replica in there:
            if replica.status is ReplicaStatus.PLACED:
                self._load(replica)
        for replica in there:
            self._work(replica)
        return {replica.engine.model for replica in there if not replica.release_requested_at}

    def _live(self) -> list[Replica]:
        with self.cluster.world.sessions.begin() as session:
            return ReplicaRepository(session).live()

    def _load(self, replica: Replica) -> None:
        claimed = self.cluster.world.serving.claim(replica.id, "worker")
        assert claimed
        self.leases[replica.id], self.loads = claimed[0], self.loads + 1
        self.cluster.world.serving.loaded(claimed[0], {})

    def _work(self, replica: Replica) -> None:
        serving, lease = self.cluster.world.serving, self.leases[replica.id]
        work = serving.next(lease, replica.engine.key, Room(1e9, 1))
        if work.order is Order.RELEASE:
            serving.end(lease, ReplicaStatus.RELEASED)
            for device in replica.devices:
                self.cluster.world.mark(device)
        for claimed in work.chunks:
            serving.answer(lease, claimed, Answer([b"an answer"], SECONDS, 1))
            self.answered[replica.engine.model] += 1


def staged(cluster: Cluster) -> Stage:
    """Four devices in one group and two in the other; the lab is guaranteed two."""
    for name, gpus in (("a", 4), ("b", 2)):
        cluster.joins(name, "hf", gpus=gpus)
        for number in range(gpus):
            cluster.world.mark(f"GPU-{name}-{number}")
    knobs = cluster.settings.model_copy(update={"hold_seconds": 0.0, "team_quotas": {"lab": 2}})
    return Stage(
        cluster,
        SchedulingService(sessions=cluster.world.sessions, doorbell=cluster.world.bell, settings=knobs),
    )


def test_everybody_is_served_in_turn_and_nothing_is_asked_twice(cluster: Cluster) -> None:
    stage = staged(cluster)
    for number in range(8):
        stage.submit(f"ann-{number}", "ann", chunks=6)
    assert len(stage.round()) == 6
    stage.submit("bob", "bob", width=2, priority=10)
    stage.submit("cy", "cy", width=4, priority=90)
    told = []
    while sum(stage.answered.values()) < 8 * 6 + 3 + 3:
        told.append(stage.round())
        assert len(told) < 30
    first = {name: next(number for number, there in enumerate(told) if name in there) for name in stage.names}
    assert first["bob"] <= 2
    assert first["cy"] <= 3
    assert stage.answered == Counter({f"ann-{number}": 6 for number in range(8)} | {"bob": 3, "cy": 3})
    assert stage.loads <= 8 + 2 + 6 + 8
    started = [event.type for event in cluster.world.jobs.events(stage.names["cy"], 0)]
    assert started.count("replica.started") == 1
