"""An engine that streams, fed: its window, its share, what is dropped, and whom its death is held against."""

from __future__ import annotations

from functools import partial

import pytest
from sqlalchemy import text

from app.domain.failure import FailureCode
from app.domain.lease import Lease
from app.domain.replica import ReplicaStatus
from app.errors import DatabaseRefusedError, DatabaseUnreachableError
from tests.waiting import until
from tests.workers.gpu_worker.conftest import Feeds
from tests.workers.gpu_worker.peer import (
    Feeding,
    Flaky,
    Peer,
    answer_one,
    chunk_rows,
    failure_of,
    give_payloads,
    is_settled,
)
from tests.world import World
from workers.gpu_worker import feed
from workers.gpu_worker.endings import EngineFailed, Fenced, Released
from workers.protocol.engine import AnswerChunk, Died, Drop, Progressed, Raised, Warned
from workers.protocol.payload import pack_requests, unpack_requests

AWAY = DatabaseUnreachableError("the database does not answer: it is stopped")


def streaming(feeding: Feeds, window: int = 64, serving: object = None) -> Feeding:
    one = feeding(serving=serving)
    one.peer.load(window)
    return one


def take(peer: Peer, count: int) -> list[AnswerChunk]:
    return [peer.take() for _ in range(count)]


def work(world: World, chunks: int, **spec: object) -> Lease:
    job = world.running(chunks=chunks, **spec)
    give_payloads(world)
    return job


def answered(world: World) -> int:
    return [row[0] for row in chunk_rows(world, "status")].count("answered")


def test_chunks_are_answered_in_any_order(world: World, feeding: Feeds) -> None:
    work(world, 4)
    one = streaming(feeding)
    for chunk in reversed(take(one.peer, 4)):
        one.peer.answer(chunk)
    until(lambda: answered(world) == 4)


def test_an_engine_is_kept_filled_to_its_window(world: World, feeding: Feeds) -> None:
    work(world, 6)
    one = streaming(feeding, window=4)
    first, second = take(one.peer, 2)
    one.peer.answer(second)
    (third,) = take(one.peer, 1)
    assert one.peer.hears_nothing(), "two chunks of two requests are all that it wants"
    one.peer.answer(first)
    one.peer.answer(third)
    assert len(take(one.peer, 2)) == 2


def test_two_replicas_share_the_last_chunks(world: World, feeding: Feeds) -> None:
    one, other = streaming(feeding), streaming(feeding)
    query = "SELECT count(*) FROM replicas WHERE status = 'serving'"
    until(lambda: count(world, query) == 2)
    work(world, 4)
    held = [*take(one.peer, 2), *take(other.peer, 2)]
    assert len({chunk.chunk for chunk in held}) == 4


def count(world: World, query: str) -> int:
    with world.sessions.begin() as session:
        return int(session.scalar(text(query)) or 0)


def test_the_time_of_an_engine_is_counted_once(world: World, feeding: Feeds) -> None:
    job = work(world, 4)
    one = streaming(feeding)
    for chunk in take(one.peer, 4):
        one.peer.answer(chunk, seconds=1000.0)
    until(lambda: answered(world) == 4)
    assert world.coordination.collect(job, b"f" * 32).seconds < 1000.0


@pytest.mark.parametrize("stops", ["cancelled", "paused", "taken away"])
def test_a_chunk_that_is_not_wanted_any_more_is_dropped_and_the_others_go_on(
    world: World, feeding: Feeds, stops: str
) -> None:
    first, second = work(world, 1), work(world, 1)
    one = streaming(feeding)
    chunks = {chunk.chunk: chunk for chunk in take(one.peer, 2)}
    if stops == "cancelled":
        world.jobs.cancel(first.id)
    elif stops == "paused":
        world.jobs.pause(first.id)
    else:
        count(world, f"DELETE FROM chunks WHERE job_id = '{first.id}' RETURNING 1")  # noqa: S608
    (dropped,) = one.peer.hear(Drop).chunks
    (kept,) = chunks.keys() - {dropped}
    one.peer.answer(chunks[dropped])
    one.peer.answer(chunks[kept])
    until(lambda: answered(world) == 1)
    assert chunk_rows(world, "id", "job_id", "status")[-1] == (kept, second.id, "answered")
    one.stopping.set()
    assert one.ending() == Released()


def test_a_replica_that_is_wanted_back_finishes_what_it_has(world: World, feeding: Feeds) -> None:
    work(world, 3)
    one = streaming(feeding)
    chunks = take(one.peer, 3)
    one.stopping.set()
    for chunk in chunks:
        assert not one.over
        one.peer.answer(chunk)
    assert one.ending() == Released()
    assert answered(world) == 3


def test_a_replica_that_is_wanted_back_does_not_finish_for_ever(
    world: World, feeding: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LEAVE_SECONDS", 0.0)
    work(world, 3)
    one = streaming(feeding)
    take(one.peer, 3)
    one.stopping.set()
    assert one.ending() == Released()


def test_each_chunk_that_an_engine_died_with_is_a_suspect(world: World, feeding: Feeds) -> None:
    work(world, 2), work(world, 1)
    one = streaming(feeding)
    chunks = take(one.peer, 3)
    one.peer.write("ValueError: 'a secret'")
    one.peer.die(-11)
    ending = one.ending()
    assert isinstance(ending, EngineFailed)
    assert set(ending.suspects) == {chunk.chunk for chunk in chunks}
    failure = ending.failure
    assert (failure.code, failure.job_id, failure.log_tail) == (FailureCode.ENGINE_DIED, None, ())
    assert "secret" not in failure.message
    assert set(chunk_rows(world, "failures", "interruptions")) == {(0, 0)}


def test_a_process_of_the_engine_that_died_is_named(world: World, feeding: Feeds) -> None:
    job = work(world, 2)
    one = streaming(feeding)
    take(one.peer, 2)
    one.peer.write("the last words")
    one.peer.say(Died("EngineCore_DP0", -9))
    ending = one.ending()
    assert isinstance(ending, EngineFailed)
    assert ending.failure.message == "EngineCore_DP0: the process was ended by SIGKILL"
    assert (ending.failure.job_id, ending.failure.log_tail) == (job.id, ("the last words",))
    assert len(ending.suspects) == 2


def test_a_process_that_the_log_names_is_named_once(world: World, feeding: Feeds) -> None:
    work(world, 1)
    one = streaming(feeding)
    take(one.peer, 1)
    one.peer.write("2026-11-27T04:01:24.570Z ERROR engine: a worker died unexpectedly (exit code: None)")
    one.peer.say(Died("Worker_TP1", -11))
    assert failure_of(one.ending()).message == "Worker_TP1 died unexpectedly (exit code: -11)"


def test_what_others_make_of_a_killed_process_is_not_the_cause(world: World, feeding: Feeds) -> None:
    work(world, 1)
    one = streaming(feeding)
    take(one.peer, 1)
    one.peer.write("Traceback (most recent call last):\n  x\nEOFError: Ran out of input")
    one.peer.say(Died("EngineCore", -9))
    failure = failure_of(one.ending())
    assert (failure.code, failure.message) == (
        FailureCode.ENGINE_DIED,
        "EngineCore: the process was ended by SIGKILL",
    )


@pytest.mark.parametrize(("exit_code", "counts"), [(-9, (0, 1)), (-11, (1, 0)), (None, (1, 0))])
def test_a_process_that_somebody_killed_says_little_of_the_chunk(
    world: World, feeding: Feeds, exit_code: int | None, counts: tuple[int, int]
) -> None:
    work(world, 1)
    one = streaming(feeding)
    take(one.peer, 1)
    one.peer.say(Died("EngineCore", exit_code))
    assert isinstance(one.ending(), EngineFailed)
    assert chunk_rows(world, "failures", "interruptions") == [counts]


def test_a_device_is_not_broken_by_what_its_job_is_called(world: World, feeding: Feeds) -> None:
    work(world, 1)
    called = "uncorrectable ECC error"
    with world.sessions.begin() as session:
        session.execute(text("UPDATE chunks SET gen_kwargs = :given"), {"given": f'{{"{called}": 1}}'})
    one = streaming(feeding)
    (chunk,) = take(one.peer, 1)
    one.peer.refuse(chunk, error=Raised("TypeError", f"Unexpected keyword argument '{called}'", ""))
    until(lambda: chunk_rows(world, "failures") == [(1,)])
    assert chunk_rows(world, "interruptions") == [(0,)]


def test_devices_that_broke_are_no_chunks_fault(world: World, feeding: Feeds) -> None:
    work(world, 2)
    one = streaming(feeding)
    take(one.peer, 2)
    one.peer.write("RuntimeError: CUDA error: uncorrectable ECC error encountered")
    one.peer.die(1)
    ending = one.ending()
    assert isinstance(ending, EngineFailed)
    assert ending.suspects == ()


def test_a_dropped_chunk_may_be_the_reason_why_the_engine_died(world: World, feeding: Feeds) -> None:
    stops, _ = work(world, 1), work(world, 1)
    one = streaming(feeding)
    take(one.peer, 2)
    world.jobs.pause(stops.id)
    one.peer.hear(Drop)
    one.peer.die(-11)
    ending = one.ending()
    assert isinstance(ending, EngineFailed)
    assert len(ending.suspects) == 1, "so the one that is left was not alone"
    assert set(chunk_rows(world, "failures")) == {(0,)}


def end(world: World, one: Feeding) -> None:
    """What its worker does when an engine has failed."""
    ending = one.ending()
    assert isinstance(ending, EngineFailed)
    world.serving.end(one.lease, ReplicaStatus.FAILED, ending.failure, ending.suspects)


def answer_until(world: World, peer: Peer, job: Lease, guilty: object) -> None:
    """Answer suspects, each of which comes alone, until one holds what the engine dies of."""
    while world.coordination.pending_keys(job.id):
        chunk = peer.take()
        assert peer.hears_nothing(), "a suspect is alone"
        if guilty in unpack_requests(chunk.payload):
            return
        peer.answer(chunk)
        until(partial(is_settled, world, chunk))


def test_the_guilty_request_fails_and_the_others_lose_nothing_but_time(world: World, feeding: Feeds) -> None:
    """Engine after engine dies of one request of eight: with four chunks in hand, then with suspects one by one."""
    job, guilty = world.running(chunks=4), [[2], [9]]
    for number, (chunk_id,) in enumerate(chunk_rows(world, "id")):
        requests = pack_requests([[[number], [8]], [[number], [9]]])
        with world.sessions.begin() as session:
            query = text("UPDATE chunks SET payload = :payload WHERE id = :id")
            session.execute(query, {"payload": requests, "id": chunk_id})
    one = streaming(feeding)
    take(one.peer, 4)
    deaths, found = 0, []
    while world.coordination.pending_keys(job.id):
        one.peer.die(-11)
        end(world, one)
        deaths += 1
        found.append(world.coordination.collect(job, b"f" * 32))
        one = streaming(feeding)
        answer_until(world, one.peer, job, guilty)
    found.append(world.coordination.collect(job, b"f" * 32))
    assert [key for each in found for key, _ in each.failures] == [b"2/1"]
    assert sum(len(each.responses) for each in found) == 7
    assert deaths == 3, "with all, alone, and as a part"


OUTAGES = ["loaded", "next", "answer", "wanted", "advance", "warn", "chunk_failed", "add_log"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_outage_of_the_database_at_any_call_costs_nothing(
    world: World, feeding: Feeds, after: bool
) -> None:
    job = work(world, 4)
    flaky = Flaky(world.serving, AWAY, *OUTAGES, after=after)
    one = feeding(serving=flaky)
    one.peer.write("loading")
    one.peer.load(window=64)
    chunk = one.peer.take()
    one.peer.say(Warned(chunk.chunk, "code", "change"))
    one.peer.say(Progressed(((chunk.chunk, 1),), 1))
    one.peer.refuse(chunk)
    while world.coordination.pending_keys(job.id):
        answer_one(world, one.peer)
    one.stopping.set()
    assert one.ending() == Released()
    assert answered(world) == 4
    assert flaky.spared == set()


@pytest.mark.parametrize("method", ["loaded", "next", "answer", "chunk_failed"])
def test_an_outage_that_outlasts_the_lease_ends_the_replica(
    world: World, feeding: Feeds, method: str
) -> None:
    work(world, 1)
    away = Flaky(world.serving, AWAY, method, "keep_only", once=False)
    one = feeding(serving=away)
    one.peer.load()
    if method == "answer":
        one.peer.answer(one.peer.take())
    if method == "chunk_failed":
        one.peer.refuse(one.peer.take())
    until(lambda: method not in away.spared)
    one.tenure.lost = True
    assert isinstance(one.ending(), Fenced)
    assert one.peer.stopped


def test_a_refusal_of_the_database_is_nobodys_outage(world: World, feeding: Feeds) -> None:
    refused = DatabaseRefusedError("the database refused what was to be stored (DataError)", "a row")
    one = feeding(serving=Flaky(world.serving, refused, "next"))
    one.peer.load()
    with pytest.raises(DatabaseRefusedError):
        one.ending()
