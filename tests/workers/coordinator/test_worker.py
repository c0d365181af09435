"""A job from its claim to its end, whatever its harness children, their server and the database do on the way."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from app.db import outages
from app.domain.failure import FailureCode
from app.domain.job import Job, JobStatus
from app.domain.lease import Lease
from app.errors import DatabaseRefusedError, DatabaseUnreachableError
from app.settings import Settings
from app.traces import Traces
from tests.waiting import until
from tests.workers.coordinator.peers import PREPARED, Child
from tests.world import World
from workers.containment.bounds import Bounds
from workers.coordinator import relay, worker
from workers.coordinator.harness_server import HarnessServer
from workers.coordinator.worker import Coordinator
from workers.protocol.fork_server import Exited
from workers.protocol.frames import Connection, pair
from workers.protocol.harness import (
    AllCut,
    EvaluateOrder,
    FailureTold,
    JobFailed,
    Results,
    TaskFinished,
    Working,
)

SUCCESS = (PREPARED, AllCut(), TaskFinished("toy", "{}", None), Results("{}", "m", "2026-01-01"))
CRASH = Exited(int(signal.SIGSEGV), None)
KILLED = Exited(int(signal.SIGKILL), None)
AWAY = DatabaseUnreachableError("the database does not answer: gone")

Conduct = Callable[[Child], None]


class Scripted(HarnessServer):
    """A fork server whose children do, one after the other, as the test says."""

    def __init__(self, *conducts: Conduct) -> None:
        super().__init__(env={}, bounds=Bounds())
        self.conducts = list(conducts)
        self.orders: list[EvaluateOrder] = []
        self.dies = False
        self.calls: list[str] = []
        self._pool = ThreadPoolExecutor(4)

    def spawn(self, log_path: Path) -> Connection:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.write_text(f"child {len(self.orders)}\n")
        conduct = self.conducts.pop(0)
        ours, theirs = pair()
        self._pool.submit(self._act, conduct, Child(Connection(theirs)))
        return ours

    def _act(self, conduct: Conduct, child: Child) -> None:
        with closing(child):
            self.orders.append(child.order())
            conduct(child)

    def died_under(self, connection: Connection) -> bool:
        return self.dies

    def start(self) -> None:
        self.calls.append("start")

    def look(self) -> bool:
        self.calls.append("look")
        raise OSError("no process can be started")

    def stop(self) -> None:
        self.calls.append("stop")


def says(*messages: object) -> Conduct:
    return lambda child: child.says(*messages)  # type: ignore[arg-type]


def dies(child: Child) -> None:
    """Without a word."""


class Case:
    """A coordinator, and a job of its own."""

    def __init__(
        self, world: World, settings: Settings, *conducts: Conduct, traces: Traces | None = None
    ) -> None:
        self.world = world
        self.server = Scripted(*conducts)
        self.stopping = threading.Event()
        self.coordinator = Coordinator(
            coordination=world.coordination,
            settings=settings.model_copy(update={"poll_seconds": 0.02}),
            server=self.server,
            stopping=self.stopping,
            holder="coordinator",
            traces=traces,
        )
        self.job_id = world.submit()

    def run(self) -> Job:
        self.coordinator.run(self.job_id)
        return self.job

    @property
    def job(self) -> Job:
        return self.world.jobs.view(self.job_id).job

    @property
    def retries(self) -> list[str]:
        events = self.world.jobs.events(self.job_id, 0)
        return [str(event.data["reason"]) for event in events if event.type == "job.retrying"]


Cases = Callable[..., Case]


@pytest.fixture
def case(world: World, settings: Settings) -> Cases:
    return lambda *conducts: Case(world, settings, *conducts)


def test_a_job_is_brought_to_its_end(case: Cases) -> None:
    here = case(says(*SUCCESS))

    assert here.run().status is JobStatus.SUCCEEDED
    assert [order.job_id for order in here.server.orders] == [str(here.job_id)]


def test_a_doubled_message_finds_nothing_to_do(case: Cases) -> None:
    here = case(says(*SUCCESS))
    here.run()
    here.coordinator.run(here.job_id)

    assert len(here.server.orders) == 1


def test_a_message_stands_for_the_first_job_in_line(case: Cases) -> None:
    here = case(says(*SUCCESS))
    later = here.world.submit()
    here.coordinator.run(later)

    assert here.job.status is JobStatus.SUCCEEDED
    assert here.world.jobs.view(later).job.status is JobStatus.QUEUED


def test_a_worker_that_stops_claims_nothing(case: Cases) -> None:
    here = case()
    here.stopping.set()

    assert here.run().status is JobStatus.QUEUED


def test_a_job_whose_child_dies_is_tried_again(case: Cases) -> None:
    here = case(says(CRASH), dies, says(*SUCCESS))

    assert here.run().status is JobStatus.SUCCEEDED
    assert here.retries == [
        "the harness child was ended by SIGSEGV; starting it again",
        "the harness child died; starting it again",
    ]


def test_a_job_whose_children_die_in_a_row_fails_with_their_last_words(case: Cases) -> None:
    here = case(dies, dies, dies)
    job = here.run()

    assert job.status is JobStatus.FAILED
    assert job.error
    assert (job.error.code, job.error.message) == (FailureCode.INTERNAL, "the harness child died")
    assert job.error.log_tail == ("child 2",)


def test_a_task_whose_code_ends_its_child_is_left_out_from_then_on(case: Cases) -> None:
    here = case(
        says(PREPARED, Working("toy"), CRASH), says(JobFailed(FailureTold("task_error", "no task is left")))
    )
    here.run()
    words = "the harness child was ended by SIGSEGV while it worked on this task"

    assert [order.given_up for order in here.server.orders] == [{}, {"toy": FailureTold("task_error", words)}]
    assert here.retries == ["the harness child was ended by SIGSEGV; starting it again without task toy"]
    (task,) = here.job.tasks
    assert task.error
    assert (task.error.message, task.error.log_tail) == (words, ("child 0",))


def test_a_job_whose_child_outgrew_its_bounds_is_not_tried_again(case: Cases) -> None:
    job = case(says(Exited(int(signal.SIGKILL), "held 9 GiB"))).run()

    assert job.error
    assert job.error.code is FailureCode.HOST_OUT_OF_MEMORY
    assert job.error.message == "the harness child held 9 GiB"


def test_a_death_of_the_fork_server_is_no_fault_of_the_task(case: Cases) -> None:
    here = case(says(Working("toy")), says(*SUCCESS))
    here.server.dies = True

    assert here.run().status is JobStatus.SUCCEEDED
    assert here.retries == ["the fork server died, and the harness child with it; starting it again"]


def test_a_child_that_was_seen_to_end_did_not_go_with_its_server(case: Cases) -> None:
    here = case(says(KILLED), says(*SUCCESS))
    here.server.dies = True
    here.run()

    assert here.retries == ["the harness child was ended by SIGKILL; starting it again"]


def failing(world: World, monkeypatch: pytest.MonkeyPatch, method: str, *errors: Exception) -> None:
    """The service's method raises these, one after the other; then it works."""
    works, left = getattr(world.coordination, method), list(errors)

    def fail(*args: object, **named: object) -> object:
        if left:
            raise left.pop(0)
        return works(*args, **named)

    monkeypatch.setattr(world.coordination, method, fail)


def test_a_job_outlives_an_outage_of_the_database(
    case: Cases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "AGAIN_SECONDS", 0.0)
    failing(world, monkeypatch, "prepared", AWAY)
    failing(world, monkeypatch, "held", AWAY, AWAY)
    here = case(says(*SUCCESS), says(*SUCCESS))

    assert here.run().status is JobStatus.SUCCEEDED
    assert here.retries == []


def test_a_job_under_which_the_database_always_fails_is_suspected(
    case: Cases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "OUTAGES", 2)
    failing(world, monkeypatch, "prepared", *[AWAY] * 6)
    job = case(*[says(PREPARED)] * 6).run()

    assert job.status is JobStatus.FAILED
    assert job.error
    assert job.error.message == "the database fails whenever this job runs"


def test_a_death_between_two_outages_begins_their_count_anew(
    case: Cases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "OUTAGES", 2)
    failing(world, monkeypatch, "prepared", AWAY, AWAY)
    here = case(says(PREPARED), dies, says(PREPARED), says(*SUCCESS))

    assert here.run().status is JobStatus.SUCCEEDED
    assert here.retries == ["the harness child died; starting it again"]


def test_what_the_database_refuses_fails_the_job_without_its_details(
    case: Cases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = DatabaseRefusedError("the database refused what was to be stored (DataError)", "row 7")
    failing(world, monkeypatch, "prepared", refused)
    job = case(says(*SUCCESS)).run()

    assert job.error
    assert job.error.code is FailureCode.INTERNAL
    assert job.error.message == f"{refused}; the coordinator's log has the details"


def test_what_nobody_expected_fails_the_job(
    case: Cases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(world, monkeypatch, "prepared", ZeroDivisionError("of all things"))
    job = case(says(*SUCCESS)).run()

    assert job.error
    assert job.error.message == "ZeroDivisionError: of all things"


def test_a_job_is_left_to_its_lease_while_nothing_can_be_written(
    case: Cases, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(world, monkeypatch, "warn", AWAY)

    assert case(dies).run().status is JobStatus.RUNNING


def lapses(world: World, job_id: UUID) -> None:
    world.expire(Lease(job_id, job_id))


def waits(child: Child) -> None:
    """Until its coordinator leaves it."""
    while child.connection.receive(20) is not None:
        pass


def test_a_job_whose_lease_is_over_is_left_alone(case: Cases, world: World) -> None:
    def freeze(child: Child) -> None:
        lapses(world, here.job_id)
        child.says(PREPARED)
        waits(child)

    here = case(freeze)

    assert here.run().status is JobStatus.RUNNING
    assert here.retries == []


def test_a_lease_that_cannot_be_renewed_ends_the_try(
    world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def freeze(child: Child) -> None:
        lapses(world, here.job_id)
        waits(child)

    monkeypatch.setattr(relay, "LOOK_SECONDS", math.inf)
    here = Case(world, settings.model_copy(update={"lease_seconds": 3.0}), freeze)

    assert here.run().status is JobStatus.RUNNING


def test_the_fork_server_is_looked_after_from_the_start_to_the_stop(
    case: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    here = case()
    here.coordinator.start()
    until(lambda: here.server.calls.count("look") > 1)
    here.coordinator.stop()

    assert here.server.calls[0] == "start"
    assert "stop" in here.server.calls
