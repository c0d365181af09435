"""The invariants under contention: many threads, one database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from itertools import chain
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from app.db.replicas import ReplicaRepository
from app.db.session import make_sessions
from app.db.usage import UsageRepository
from app.domain.chunk import Room
from app.domain.job import JobStatus
from app.domain.lease import Lease, Order
from app.domain.placement import Start
from app.errors import DatabaseUnreachableError, EvalqError, LeaseLostError
from app.services.serving import Answer
from app.settings import Settings
from tests.world import ENGINE, FINGERPRINT, World, chunk

THREADS = 16


def together(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls gave when they began at the same moment; an EvalqError is an answer too."""
    start = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except EvalqError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_a_job_is_claimed_once(world: World) -> None:
    job_id = world.submit()
    claims = together(*[partial(world.coordination.claim, job_id, "c")] * THREADS)
    assert sum(claim is not None for claim in claims) == 1
    assert world.events(job_id) == [(1, "job.queued"), (2, "job.phase")]


def test_coordinators_that_are_rung_together_take_a_job_each(world: World) -> None:
    jobs = [world.submit() for _ in range(THREADS)]
    claims = together(*[partial(world.coordination.claim, jobs[0], "c")] * THREADS)
    taken = [claim[0].id for claim in claims if claim]
    assert len(taken) == len(set(taken)) > 0


def test_a_job_is_cancelled_once(world: World) -> None:
    job_id = world.submit()
    jobs = together(*[partial(world.jobs.cancel, job_id)] * THREADS)
    assert {job.status for job in jobs} == {JobStatus.CANCELLED}
    assert world.events(job_id) == [(1, "job.queued"), (2, "job.cancelled")]


def test_cancelling_and_claiming_never_lose_each_other(world: World) -> None:
    for _ in range(5):
        job_id = world.submit()
        claim = partial(world.coordination.claim, job_id, "c")
        cancel = partial(world.jobs.cancel, job_id)
        results = together(claim, cancel, claim, cancel)
        job = world.jobs.view(job_id).job
        if any(results[0::2]):
            assert (job.status, bool(job.cancel_requested_at)) == (JobStatus.RUNNING, True)
        else:
            assert job.status is JobStatus.CANCELLED


def test_event_numbers_are_dense_and_in_commit_order(world: World) -> None:
    lease = world.running()

    def warn_often() -> None:
        for _ in range(10):
            world.coordination.warn(lease, {})

    together(*[warn_often] * 8)
    numbers = [number for number, _ in world.events(lease.id)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == 3 + 80


def test_a_reader_never_sees_a_later_event_before_an_earlier_one(world: World) -> None:
    lease = world.running()
    seen: list[int] = []

    def read() -> None:
        while len(seen) < 3 + 40:
            news = world.jobs.news(lease.id, seen[-1] if seen else 0)
            seen.extend(event.id for event in news.events)

    def write() -> None:
        for _ in range(10):
            world.coordination.warn(lease, {})

    together(read, write, write, write, write)
    assert seen == list(range(1, 3 + 40 + 1))


def test_a_chunk_is_claimed_by_one_replica(world: World) -> None:
    world.running(chunks=40)
    replicas = [world.replica(device) for device in world.devices(8)]

    def drain(lease: Lease) -> list[int]:
        positions = []
        while chunks := world.serving.next(lease, ENGINE.key, Room(15.0, 4)).chunks:
            for claimed in chunks:
                positions.append(claimed.chunk.position)
                world.serving.answer(lease, claimed, Answer([b"a", b"b"], 0.1, 10))
        return positions

    claimed = together(*[partial(drain, lease) for lease in replicas])
    assert Counter(chain.from_iterable(claimed)) == Counter(range(40))


def test_the_first_answer_to_a_request_stands(world: World) -> None:
    first, second = world.running(chunks=1), world.running(chunks=1)
    leases = [world.replica(device) for device in world.devices(2)]
    work = [world.serving.next(lease, ENGINE.key, Room(1.0, 1)).chunks[0] for lease in leases]
    together(
        *[
            partial(world.serving.answer, lease, claimed, Answer([value, value], 0.1, 1))
            for lease, claimed, value in zip(leases, work, (b"x", b"y"), strict=True)
        ]
    )
    collected = [world.coordination.collect(lease, FINGERPRINT).responses for lease in (first, second)]
    assert sorted(collected[0]) == sorted(collected[1])
    assert {value for _, value, _ in collected[0]} in ({b"x"}, {b"y"})


def test_devices_are_taken_all_or_none(world: World) -> None:
    devices = world.devices(4)

    def place(block: tuple[str, ...]) -> object:
        with world.sessions.begin() as session:
            return ReplicaRepository(session).place(Start("a", block, ENGINE))

    blocks = [tuple(devices[:2]), tuple(devices[1:3]), tuple(devices[2:]), tuple(devices)] * 4
    together(*[partial(place, block) for block in blocks])
    with world.sessions.begin() as session:
        held = session.execute(text("SELECT id, replica_id FROM devices WHERE state = 'held'")).all()
        live = session.execute(text("SELECT id, devices FROM replicas WHERE status = 'placed'")).all()
    assert dict(held) == {device: replica for replica, block in live for device in block}
    assert sum(len(block) for _, block in live) == len(held) > 0


def test_a_replica_is_claimed_once(world: World) -> None:
    replica_id = world.placed(*world.devices(1))
    claims = together(*[partial(world.serving.claim, replica_id, "w")] * THREADS)
    assert sum(claim is not None for claim in claims) == 1


def test_a_holder_whose_lease_is_over_writes_nothing(world: World) -> None:
    job, replica = world.running(chunks=2), world.replica(world.devices(1)[0])
    claimed = world.serving.next(replica, ENGINE.key, Room(1.0, 1)).chunks[0]
    world.expire(job)
    world.expire(replica)
    before = world.events(job.id)
    for write in (
        lambda: world.coordination.renew(job),
        lambda: world.coordination.warn(job, {}),
        lambda: world.coordination.store_chunks(job, [chunk(job.id, 7)]),
        lambda: world.coordination.store_plan(job, [chunk(job.id, 8)], 0),
        lambda: world.coordination.finish(job, "{}", "m", "d"),
        lambda: world.coordination.collect(job, FINGERPRINT),
        lambda: world.serving.renew(replica),
        lambda: world.serving.answer(replica, claimed, Answer([b"a", b"b"], 0.1, 1)),
        lambda: world.serving.next(replica, ENGINE.key, Room(1.0, 1)),
    ):
        with pytest.raises(LeaseLostError):
            write()
    assert world.events(job.id) == before
    assert world.coordination.lookup(FINGERPRINT, claimed.chunk.keys) == []


def test_what_a_lost_holder_had_is_given_out_again(world: World) -> None:
    job, replica = world.running(chunks=1), world.replica(world.devices(2)[0])
    assert world.serving.next(replica, ENGINE.key, Room(1.0, 1)).chunks
    world.expire(job)
    world.expire(replica)
    assert set(world.scheduling.expire_once()) == {job.id, replica.id}
    assert world.scheduling.expire_once() == []
    again = world.coordination.claim(job.id, "another")
    assert again
    assert again[1].attempt == 2
    assert world.coordination.pending_keys(job.id) == {b"0/0", b"0/1"}
    with pytest.raises(LeaseLostError):
        world.coordination.renew(job)


def test_an_answer_and_the_end_of_its_lease_exclude_each_other(world: World) -> None:
    device_ids = world.devices(4)
    for device in device_ids:
        job, replica = world.running(chunks=1), world.replica(device)
        claimed = world.serving.next(replica, ENGINE.key, Room(1.0, 1)).chunks[0]

        def answer(lease: Lease = replica, claimed: Any = claimed) -> None:
            world.serving.answer(lease, claimed, Answer([b"a", b"b"], 0.1, 1))

        def expire(lease: Lease = replica) -> None:
            world.expire(lease)
            world.scheduling.expire_once()

        refused, _ = together(answer, expire)
        with world.sessions.begin() as session:
            query = text("SELECT status FROM chunks WHERE id = :id")
            status = session.scalar(query, {"id": claimed.chunk.id})
        assert status == ("waiting" if isinstance(refused, LeaseLostError) else "answered")
        world.jobs.cancel(job.id)


def test_a_scheduler_that_freezes_while_it_books_lets_workers_charge(
    world: World, settings: Settings
) -> None:
    replica = world.replica(world.devices(1)[0])
    world.serving.loaded(replica, {})
    world.serving.next(replica, ENGINE.key, Room(1e9, 64))
    world.serving.renew(replica)
    held_long = settings.model_copy(update={"lease_seconds": 3600.0})
    with (
        closing(make_sessions(held_long, 0.2)) as sessions,
        ThreadPoolExecutor(1) as pool,
        suppress(DatabaseUnreachableError),
        sessions.begin() as frozen,
    ):
        assert UsageRepository(frozen).book() > 1
        assert pool.submit(world.serving.renew, replica).result(timeout=15) is Order.GO_ON
