"""The move tables and the allocation of devices, walked at random through the services on a real Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from app.db.replicas import ReplicaRepository
from app.domain.failure import Failure, FailureCode
from app.domain.group import DeviceReport
from app.domain.ids import uuid7
from app.domain.job import MOVES, OPEN, RETRYABLE, TERMINAL, JobStatus, Phase, TaskStatus
from app.domain.lease import Lease
from app.domain.placement import Start
from app.domain.replica import REPLICA_MOVES, DeviceState, ReplicaStatus
from app.errors import IllegalMoveError, LeaseLostError
from tests.world import ENGINE, FINGERPRINT, World

BOUNDED = settings(
    max_examples=12,
    stateful_step_count=20,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
FAILURE = Failure(FailureCode.INTERNAL, "made up")
DEVICES = 4


@contextmanager
def refused() -> Iterator[None]:
    """What a service refuses must change nothing; the invariants look after that."""
    try:
        yield
    except (IllegalMoveError, LeaseLostError):
        return


class JobMachine(RuleBasedStateMachine):
    """One job, its user, its coordinators (late ones too) and the scheduler."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._job_id = world.submit()
        self._leases: list[Lease] = []
        self._status = JobStatus.QUEUED
        self._ended_at: datetime | None = None
        self._retried = False

    @rule()
    def claim(self) -> None:
        claimed = self._world.coordination.claim(self._job_id, f"coordinator {len(self._leases)}")
        if claimed:
            self._leases.append(claimed[0])

    @rule(action=st.sampled_from(["cancel", "pause", "resume"]))
    def ask(self, action: str) -> None:
        with refused():
            getattr(self._world.jobs, action)(self._job_id)

    @rule()
    def retry(self) -> None:
        with refused():
            self._world.jobs.retry(self._job_id)
            self._retried = True

    @precondition(lambda self: self._leases)
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """A coordinator, the present one or one that lost its lease, goes a step."""
        coordination, lease = self._world.coordination, data.draw(st.sampled_from(self._leases))
        steps: list[Callable[[], object]] = [
            lambda: coordination.renew(lease),
            lambda: coordination.prepared(lease, FINGERPRINT, [("toy", 1), ("other", 1)], {}),
            lambda: coordination.enter(lease, Phase.EVALUATING, "evaluating"),
            lambda: coordination.task_finished(lease, "toy", {}),
            lambda: coordination.finish(lease, "{}", "model", "date"),
            lambda: coordination.fail(lease, FAILURE),
            lambda: coordination.pause(lease),
            lambda: coordination.stop(lease, JobStatus.CANCELLED, "cancelled by its user"),
            lambda: coordination.stop(lease, JobStatus.QUEUED, "its coordinator is shutting down"),
        ]
        with refused():
            data.draw(st.sampled_from(steps))()

    @precondition(lambda self: self._leases)
    @rule()
    def lapse(self) -> None:
        """The present lease is over; perhaps nobody has noticed yet."""
        self._world.expire(self._leases[-1])

    @rule()
    def expire(self) -> None:
        self._world.scheduling.expire_once()

    def teardown(self) -> None:
        """A job that still waited would be first in line in the next example, and in a replay of this one."""
        with self._world.sessions.begin() as session:
            session.execute(text("DELETE FROM jobs"))

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        job = self._world.jobs.view(self._job_id).job
        legal = job.status in {self._status, *MOVES[self._status]}
        again = self._retried and self._status in RETRYABLE and job.status is JobStatus.QUEUED
        assert legal or again, f"{self._status} became {job.status}"
        if self._status in TERMINAL and job.status is self._status and not again:
            assert job.ended_at == self._ended_at, "a terminal job changed"
        self._status, self._ended_at, self._retried = job.status, job.ended_at, False

    @invariant()
    def no_task_of_an_ended_job_is_open(self) -> None:
        job = self._world.jobs.view(self._job_id).job
        open_tasks = [task for task in job.tasks if task.status in OPEN]
        assert not (job.status.terminal and open_tasks)
        assert all(task.error for task in job.tasks if task.status is TaskStatus.FAILED)

    @invariant()
    def only_a_running_job_is_leased(self) -> None:
        with self._world.sessions.begin() as session:
            query = text("SELECT status, phase, lease_token FROM jobs WHERE id = :id")
            status, phase, token = session.execute(query, {"id": self._job_id}).one()
        assert (status == JobStatus.RUNNING) == (token is not None) == (phase is not None)

    @invariant()
    def events_are_dense_and_tell_the_end(self) -> None:
        events = self._world.events(self._job_id)
        assert [number for number, _ in events] == list(range(1, len(events) + 1))
        status = self._world.jobs.view(self._job_id).job.status
        last = events[-1][1]
        assert (
            last == f"job.{status}" if status in TERMINAL else last not in {f"job.{end}" for end in TERMINAL}
        )


class AllocationMachine(RuleBasedStateMachine):
    """Some devices, a scheduler that places and expires, and workers that claim, serve, end and come late."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._group = f"group-{uuid7()}"
        reports = [DeviceReport(f"{self._group}-{i}", i, "H100") for i in range(DEVICES)]
        world.groups.register(
            name=self._group, host="node", kind="cuda", backends=["hf"], version="0", reports=reports
        )
        self._ids = [report.id for report in reports]
        for device in self._ids:
            world.mark(device)
        self._placed: list[UUID] = []
        self._leases: list[Lease] = []
        self._status: dict[UUID, ReplicaStatus] = {}

    @rule(wanted=st.sets(st.integers(0, DEVICES - 1), min_size=1))
    def place(self, wanted: set[int]) -> None:
        start = Start(self._group, tuple(self._ids[i] for i in sorted(wanted)), ENGINE)
        free = {row.id for row in self._devices() if row.state == DeviceState.FREE}
        with self._world.sessions.begin() as session:
            replica_id = ReplicaRepository(session).place(start)
        assert (replica_id is not None) == set(start.devices).issubset(free)
        if replica_id:
            self._placed.append(replica_id)

    @precondition(lambda self: self._placed)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        claimed = self._world.serving.claim(data.draw(st.sampled_from(self._placed)), "worker")
        if claimed:
            self._leases.append(claimed[0])

    @precondition(lambda self: self._leases)
    @rule(data=st.data(), status=st.sampled_from([ReplicaStatus.RELEASED, ReplicaStatus.FAILED]))
    def work(self, data: st.DataObject, status: ReplicaStatus) -> None:
        """A worker, perhaps one whose lease was lost, goes a step."""
        serving, lease = self._world.serving, data.draw(st.sampled_from(self._leases))
        steps: list[Callable[[], object]] = [
            lambda: serving.renew(lease),
            lambda: serving.loaded(lease, {}),
            lambda: serving.end(lease, status),
        ]
        with refused():
            data.draw(st.sampled_from(steps))()

    @precondition(lambda self: self._placed)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        with self._world.sessions.begin() as session:
            ReplicaRepository(session).release(data.draw(st.sampled_from(self._placed)), "somebody waits")

    @precondition(lambda self: self._leases)
    @rule(data=st.data())
    def lapse(self, data: st.DataObject) -> None:
        self._world.expire(data.draw(st.sampled_from(self._leases)))

    @rule()
    def expire(self) -> None:
        self._world.scheduling.expire_once()

    @rule(index=st.integers(0, DEVICES - 1), state=st.sampled_from([DeviceState.FREE, DeviceState.DRAINED]))
    def look_at_device(self, index: int, state: DeviceState) -> None:
        """The keeper found it clean, or not; one that is held stays so."""
        self._world.mark(self._ids[index], state)

    @invariant()
    def a_live_replica_has_all_its_devices_and_no_other_has_them(self) -> None:
        held = {row.id: row.replica_id for row in self._devices() if row.replica_id}
        live = {row.id: row.devices for row in self._replicas() if ReplicaStatus(row.status).live}
        assert held == {device: replica for replica, devices in live.items() for device in devices}
        assert len(held) == sum(len(devices) for devices in live.values())

    @invariant()
    def every_move_is_in_the_table(self) -> None:
        for row in self._replicas():
            status = ReplicaStatus(row.status)
            before = self._status.get(row.id, ReplicaStatus.PLACED)
            assert status in {before, *REPLICA_MOVES[before]}, f"{before} became {status}"
            assert status.live == (row.ended_at is None)
            self._status[row.id] = status

    def _devices(self) -> list[Any]:
        with self._world.sessions.begin() as session:
            query = text("SELECT id, state, replica_id FROM devices WHERE group_name = :group")
            return list(session.execute(query, {"group": self._group}))

    def _replicas(self) -> list[Any]:
        with self._world.sessions.begin() as session:
            query = text("SELECT id, status, devices, ended_at FROM replicas WHERE group_name = :group")
            return list(session.execute(query, {"group": self._group}))


def walk(machine: Callable[[], RuleBasedStateMachine]) -> None:
    """Hypothesis takes whatever makes a machine, though it types a class."""
    run_state_machine_as_test(cast("type[RuleBasedStateMachine]", machine), settings=BOUNDED)


def test_jobs_move_as_their_table_says(world: World) -> None:
    walk(lambda: JobMachine(world))


def test_devices_are_held_by_one_live_replica_all_or_none(world: World) -> None:
    walk(lambda: AllocationMachine(world))
