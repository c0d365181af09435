"""Every write of a worker is guarded by what it holds: with a lost lease it changes nothing, and says so.

What a holder calls is found by its signature: a method that is added and not listed here, or not guarded, fails.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Text, cast, func, literal, select, text, union_all

import app.db
from app.db.tables import METADATA
from app.domain.chunk import Room
from app.domain.failure import Failure, FailureCode
from app.domain.headway import Headway
from app.domain.ids import uuid7
from app.domain.job import JobStatus, Phase
from app.domain.lease import Lease
from app.domain.output import SampleLine
from app.domain.remedy import Remedy
from app.domain.replica import DeviceState, ReplicaStatus
from app.errors import ChunkLostError, LeaseLostError
from app.services.binding import BindingService
from app.services.coordination import CoordinationService, Progress
from app.services.groups import GroupService
from app.services.parking import ParkingService
from app.services.remedies import RemedyService
from app.services.serving import Answer, Claimed, ServingService
from tests.jobs import submission
from tests.world import ENGINE, FINGERPRINT, World, chunk

FAILURE = Failure(FailureCode.TASK_ERROR, "the engine cannot answer this")
HEADWAY = Headway(1, 1.0)

Call = Callable[[World, Lease], object]

OF_JOBS: Mapping[str, Call] = {
    "renew": lambda w, job: w.coordination.renew(job),
    "held": lambda w, job: w.coordination.held(job),
    "order": lambda w, job: w.coordination.order(job),
    "enter": lambda w, job: w.coordination.enter(job, Phase.SCORING, "scoring"),
    "explain": lambda w, job: w.coordination.explain(job, "why"),
    "settle_engine": lambda w, job: w.coordination.settle_engine(job, {"max_model_len": 9}),
    "prepared": lambda w, job: w.coordination.prepared(job, b"another", [("toy", 9), ("new", 1)], {"a": 1}),
    "store_chunks": lambda w, job: w.coordination.store_chunks(job, [chunk(job.id, 99)]),
    "store_plan": lambda w, job: w.coordination.store_plan(job, [chunk(job.id, 99)], 1),
    "withdraw": lambda w, job: w.coordination.withdraw(job, w.coordination.pending_keys(job.id)),
    "collect": lambda w, job: w.coordination.collect(job, FINGERPRINT),
    "engine_facts": lambda w, job: w.coordination.engine_facts(job, FINGERPRINT),
    "progress": lambda w, job: w.coordination.progress(job, Progress(1, {"toy": 1}, {}), {}, 1.0),
    "warn": lambda w, job: w.coordination.warn(job, {"reason": "late"}),
    "task_finished": lambda w, job: w.coordination.task_finished(job, "toy", {"acc": 1.0}),
    "task_failed": lambda w, job: w.coordination.task_failed(job, "toy", FAILURE),
    "add_samples": lambda w, job: w.coordination.add_samples(job, "toy", 0, [SampleLine("{}", True)]),
    "finish": lambda w, job: w.coordination.finish(job, "{}", "model", "date"),
    "fail": lambda w, job: w.coordination.fail(job, FAILURE),
    "stop": lambda w, job: w.coordination.stop(job, JobStatus.QUEUED, "leaving"),
    "pause": lambda w, job: w.coordination.pause(job),
    "rebind": lambda w, job: w.coordination.binding.rebind(job, submission()),
    "park": lambda w, job: w.coordination.parking.park(job),
    "adopted": lambda w, job: w.coordination.parking.adopted(job),
    "count_answered": lambda w, job: w.coordination.parking.count_answered(job),
    "give_back": lambda w, job: w.coordination.parking.give_back(job),
    "wants_room": lambda w, job: w.coordination.parking.wants_room(job, 0),
    "take": lambda w, job: w.coordination.remedies.take(job, Remedy(ENGINE, "again", True), uuid7(), FAILURE),
}
"""What a coordinator calls under the lease of a job."""

OF_REPLICAS: Mapping[str, Call] = {
    "renew": lambda w, replica: w.serving.renew(replica),
    "take_spare": lambda w, replica: w.serving.take_spare(replica, uuid7()),
    "loaded": lambda w, replica: w.serving.loaded(replica, {"version": 1}),
    "next": lambda w, replica: w.serving.next(replica, ENGINE.key, Room(1e9, 64)),
    "answer": lambda w, replica: w.serving.answer(replica, claimed(w), Answer([b"a", b"b"], 0.1, 1)),
    "advance": lambda w, replica: w.serving.advance(replica, {claimed(w).chunk.id: HEADWAY}),
    "chunk_failed": lambda w, replica: w.fail(replica, claimed(w).chunk, FAILURE),
    "keep_only": lambda w, replica: w.serving.keep_only(replica, []),
    "wanted": lambda w, replica: w.serving.wanted(replica, [claimed(w).chunk.id]),
    "warn": lambda w, replica: w.serving.warn(replica, {"reason": "late"}),
    "end": lambda w, replica: w.serving.end(replica, ReplicaStatus.FAILED, FAILURE, [claimed(w).chunk.id]),
}
"""What a gpu worker calls under the lease of a replica."""

SAY_NOTHING: Mapping[str, object] = {"engine_facts": None, "wants_room": False, "advance": 0}
"""What they give instead of an error: two only read, the other counts what it wrote."""

WITHOUT_A_LEASE = {
    *("claim", "adopt", "release_holders"),  # it begins a lease, or ends those of holders known dead
    "add_log",  # why a lease was lost stands at the end of the log; only its owner writes there
    *(
        "lookup",
        "pending_keys",
        "pending_cost",
        "engines",
        "holders",
        "is_over",
        "troubles",
        "groups",
        "recall",
        "failures",
        "traces",
    ),  # these read
    *("renew_all", "let_go", "stirs"),  # of many leases: tests/services/test_parking.py
}
"""Methods of the same services that no lease guards."""


def claimed(world: World) -> Claimed:
    """The chunk that was in the replica's hands, as its worker remembers it."""
    with world.sessions.begin() as session:
        known = session.execute(text("SELECT id, job_id FROM chunks WHERE position = 0")).one()
    return Claimed(replace(chunk(known.job_id, 0), id=known.id), FINGERPRINT)


def rows(world: World) -> list[str]:
    """Everything that is stored."""
    tables = METADATA.tables.items()
    found = [
        select(literal(name) + cast(func.to_jsonb(table.table_valued()), Text)) for name, table in tables
    ]
    with world.sessions.begin() as session:
        return sorted(session.scalars(union_all(*found)))


def expired(world: World, job: Lease, replica: Lease) -> tuple[Lease, Lease]:
    """Nobody has noticed yet."""
    for lease in (job, replica):
        world.expire(lease)
    return job, replica


def taken(_: World, job: Lease, replica: Lease) -> tuple[Lease, Lease]:
    """They are others' by now."""
    return Lease(job.id, uuid7()), Lease(replica.id, uuid7())


def declared_over(world: World, job: Lease, replica: Lease) -> tuple[Lease, Lease]:
    """The scheduler has noticed: chunks and job wait again."""
    expired(world, job, replica)
    world.scheduling.expire_once()
    return job, replica


Loss = Callable[[World, Lease, Lease], tuple[Lease, Lease]]


@pytest.mark.parametrize("lose", [expired, taken, declared_over])
def test_a_holder_that_lost_its_lease_changes_nothing_and_hears_of_it(world: World, lose: Loss) -> None:
    job, replica = world.running(chunks=2), world.replica(world.devices(1)[0])
    assert world.serving.next(replica, ENGINE.key, Room(1e9, 1)).chunks
    lost_job, lost_replica = lose(world, job, replica)
    before = rows(world)
    for calls, lease in ((OF_JOBS, lost_job), (OF_REPLICAS, lost_replica)):
        for name, call in calls.items():
            heard = outcome(call, world, lease)
            assert heard is SAY_NOTHING.get(name, LeaseLostError), name
            assert rows(world) == before, f"{name} wrote"


def outcome(call: Call, world: World, lease: Lease) -> object:
    try:
        return call(world, lease)
    except (LeaseLostError, ChunkLostError) as error:
        return type(error)


def test_a_holder_hears_of_a_chunk_that_is_not_its_own_any_more(world: World) -> None:
    world.running(chunks=1)
    replica = world.replica(world.devices(1)[0])
    assert world.serving.next(replica, ENGINE.key, Room(1e9, 1)).chunks
    known = claimed(world)
    assert world.serving.keep_only(replica, []) == 1
    before = rows(world)
    with pytest.raises(ChunkLostError):
        world.serving.answer(replica, known, Answer([b"a", b"b"], 0.1, 1))
    with pytest.raises(ChunkLostError):
        world.fail(replica, known.chunk, FAILURE)
    assert world.serving.advance(replica, {known.chunk.id: HEADWAY}) == 0
    assert rows(world) == before


def test_a_worker_whose_group_another_has_taken_changes_nothing_of_it(world: World) -> None:
    (device,) = world.devices(1)
    before = rows(world)
    stranger = uuid7()
    with pytest.raises(LeaseLostError):
        world.groups.beat("a", stranger, ["hf"], [])
    assert not world.groups.mark_device(device, stranger, DeviceState.DRAINED, "seen")
    world.groups.leave("a", stranger)
    assert rows(world) == before


def public(service: type) -> Iterator[tuple[str, set[str]]]:
    """The service's methods, each with the names of what it takes."""
    for name, method in inspect.getmembers(service, inspect.isfunction):
        if not name.startswith("_"):
            yield name, set(inspect.signature(method).parameters)


def test_every_method_is_listed_as_guarded_or_as_needing_no_guard() -> None:
    for services, calls in (
        ((CoordinationService, RemedyService, BindingService, ParkingService), OF_JOBS),
        ((ServingService,), OF_REPLICAS),
    ):
        methods = {name: takes for service in services for name, takes in public(service)}
        assert {name for name, takes in methods.items() if "lease" in takes} == set(calls)
        assert set(methods) - set(calls) <= WITHOUT_A_LEASE
    assert {name for name, takes in public(GroupService) if "token" in takes} == {
        *("beat", "leave", "mark_device"),
    }


def test_the_guards_are_written_once() -> None:
    """A token is compared in db/fence.py and nowhere else."""
    compared = re.compile(r"\b(lease_token|worker_token|\.token)\s*==")
    folder = Path(next(iter(app.db.__path__)))
    assert {file.name for file in folder.glob("*.py") if compared.search(file.read_text())} == {"fence.py"}
