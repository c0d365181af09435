"""An engine that answers one chunk at a time, fed: every message, every ending."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from app.domain.chunk import MAX_INTERRUPTIONS
from app.domain.failure import FailureCode
from app.log_lines import RecordFormatter
from tests.waiting import until
from tests.workers.gpu_worker.conftest import Feeds
from tests.workers.gpu_worker.peer import (
    REFUSED,
    Feeding,
    answer_one,
    chunk_rows,
    failure_of,
    give_payloads,
    logs,
)
from tests.world import World
from workers.gpu_worker.endings import EngineFailed, Fenced, Released
from workers.protocol.engine import (
    Answered,
    ChunkFailed,
    Drop,
    Loaded,
    Progressed,
    Raised,
    Warned,
)

ECC = Raised("RuntimeError", "CUDA error: uncorrectable ECC error encountered", "")


def loaded(feeding: Feeds, window: int = 0) -> Feeding:
    one = feeding()
    one.peer.load(window)
    return one


def test_answers_are_stored_as_they_come(world: World, feeding: Feeds) -> None:
    job = world.running(chunks=3)
    give_payloads(world)
    one = loaded(feeding)
    chunks = [one.peer.take()]
    one.peer.answer(chunks[0])
    chunks += [one.peer.take(), one.peer.take()]
    one.peer.answer(chunks[1])
    one.peer.say(Loaded(0.0, {}, 64))  # nonsense, and passed over
    one.peer.answer(chunks[2])
    until(lambda: len(world.coordination.pending_keys(job.id)) == 0)
    found = world.coordination.collect(job, b"f" * 32)
    assert len(found.responses) == 6
    assert found.seconds == pytest.approx(0.3)


def test_the_workers_log_names_the_jobs_it_works_for(
    world: World, feeding: Feeds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(RecordFormatter())
    job = world.running(chunks=2)
    give_payloads(world)
    with caplog.at_level("INFO"):
        one = loaded(feeding)
        one.peer.answer(one.peer.take())
        one.peer.refuse(one.peer.take())
        until(lambda: "failed" in caplog.text)
    assert caplog.text.count(f"[job {job.id}] the first of its chunks here") == 1
    assert f"[job {job.id}] chunk " in caplog.text


def test_a_replica_that_has_nothing_in_hand_leaves_at_once(feeding: Feeds) -> None:
    one = loaded(feeding)
    one.stopping.set()
    assert one.ending() == Released()


@pytest.mark.parametrize("how", ["answered", "failed"])
def test_a_replica_leaves_at_a_chunk_boundary(world: World, feeding: Feeds, how: str) -> None:
    world.running(chunks=3)
    give_payloads(world)
    one = loaded(feeding)
    one.peer.answer(one.peer.take(), seconds=1e-4)
    at_work, ahead = one.peer.take(), one.peer.take()
    one.stopping.set()
    one.peer.say(Progressed((), 0))
    assert not one.over
    one.peer.answer(at_work) if how == "answered" else one.peer.refuse(at_work)
    assert one.ending() == Released()
    assert ahead.chunk in {
        chunk_id for chunk_id, status in chunk_rows(world, "id", "status") if status == "claimed"
    }


def test_a_replica_that_the_scheduler_releases_claims_nothing_more(world: World, feeding: Feeds) -> None:
    one = loaded(feeding)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE replicas SET release_requested_at = now()"))
    world.running(chunks=1)
    assert one.ending() == Released()
    assert chunk_rows(world, "status") == [("waiting",)]


def test_a_failed_chunk_is_counted_and_the_engine_goes_on(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    for _ in range(2):
        chunk = one.peer.take()
        one.peer.refuse(chunk)
    for _ in range(2):
        answer_one(world, one.peer)
    until(lambda: {row[0] for row in chunk_rows(world, "status")} == {"split", "answered"})
    (split,) = (row for row in chunk_rows(world, "status", "error") if row[0] == "split")
    assert split[1]["message"] == "ValueError: cannot read 'a secret'"


def test_an_answer_that_does_not_fit_its_chunk_is_a_failure_of_it(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    one.peer.say(Answered(one.peer.take().chunk, (b"a",), 0.1, 1, 1, 0))
    one.peer.take()
    assert chunk_rows(world, "status", "failures") == [("claimed", 1)]


def test_a_broken_device_is_not_held_against_the_chunk_that_met_it(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    one.peer.refuse(one.peer.take(), error=ECC)
    one.peer.take()
    assert chunk_rows(world, "failures", "interruptions") == [(0, 1)]


def test_the_chunk_that_an_engine_did_not_survive_takes_the_blame_and_its_job_the_words(
    world: World, feeding: Feeds
) -> None:
    jobs = [world.running(chunks=1).id for _ in range(3)]
    give_payloads(world)
    one = loaded(feeding)
    first = one.peer.take()
    one.peer.write("fine")
    one.peer.answer(first, seconds=1e-4)
    second, _ = one.peer.take(), one.peer.take()
    one.peer.write("ValueError: cannot read 'a secret'")
    one.peer.status = 1
    one.peer.refuse(second, fatal=True)
    ending = one.ending()
    failure = failure_of(ending)
    assert (failure.job_id, failure.log_tail) == (jobs[1], ("ValueError: cannot read 'a secret'",))
    assert isinstance(ending, EngineFailed)
    assert ending.suspects == ()
    assert logs(world, *jobs) == ["fine\n", "ValueError: cannot read 'a secret'\n"]
    counts = chunk_rows(world, "status", "failures", "interruptions")
    assert counts == [("answered", 0, 0), ("waiting", 1, 0), ("claimed", 0, 0)]


@pytest.mark.parametrize(
    ("status", "counts"),
    [(-11, (1, 0, True)), (1, (1, 0, True)), (-9, (0, 1, False)), (-15, (0, 1, False)), (None, (1, 0, True))],
    ids=["SIGSEGV", "exit", "SIGKILL", "SIGTERM", "cut off"],
)
def test_an_engine_that_dies_is_held_against_the_chunk_that_it_was_at(
    world: World, feeding: Feeds, status: int | None, counts: tuple[int, int, bool]
) -> None:
    job = world.running(chunks=3)
    give_payloads(world)
    one = loaded(feeding)
    one.peer.answer(one.peer.take(), seconds=1e-4)
    one.peer.take(), one.peer.take()
    one.peer.write("about to end")
    one.peer.status = status
    one.peer.socket.shutdown(2)
    ending = one.ending()
    assert isinstance(ending, EngineFailed)
    assert ending.failure.code is FailureCode.ENGINE_DIED
    assert (ending.failure.job_id, ending.failure.log_tail) == (job.id, ("about to end",))
    assert ending.suspects == (), "the third one was not begun"
    assert chunk_rows(world, "failures", "interruptions", "suspect")[1:] == [counts, (0, 0, False)]


def test_an_engine_that_dies_idle_is_held_against_nothing(world: World, feeding: Feeds) -> None:
    one = loaded(feeding)
    one.peer.die(-11)
    ending = one.ending()
    assert isinstance(ending, EngineFailed)
    assert (ending.suspects, ending.failure.job_id) == ((), None)
    assert "SIGSEGV" in ending.failure.message


def test_an_engine_whose_device_broke_leaves_its_chunk_without_blame(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    one.peer.take()
    one.peer.write("RuntimeError: CUDA error: uncorrectable ECC error encountered")
    one.peer.die(1)
    failure_of(one.ending())
    assert chunk_rows(world, "failures", "interruptions", "suspect") == [(0, 1, False)]


def test_an_engine_that_is_silent_over_a_chunk_has_stalled(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = feeding(stall_seconds=0.2)
    one.peer.load()
    chunk = one.peer.take()
    failure = failure_of(one.ending())
    assert (failure.code, failure.message) == (
        FailureCode.STALLED,
        "the engine did not answer a chunk in 0.2 s",
    )
    assert chunk_rows(world, "id", "failures") == [(chunk.chunk, 1)]


NO_MESSAGES = {
    "too long": b"\xff\xff\xff\xff",
    "cut": b"\0\0\0\2\x81\xa4",
    "a list": b"\0\0\0\2\x91\1",
    "no kind": b"\0\0\0\1\x80",
}


@pytest.mark.parametrize("frame", NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_an_engine_that_says_what_is_no_message_is_given_up(
    world: World, feeding: Feeds, frame: bytes
) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    one.peer.take()
    one.peer.socket.sendall(frame)
    failure = failure_of(one.ending())
    assert failure.message == "the process stopped answering"
    assert chunk_rows(world, "failures") == [(1,)]


def test_a_chunk_that_takes_workers_along_is_not_sent_to_another(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    with world.sessions.begin() as session:
        session.execute(text("UPDATE chunks SET interruptions = :count"), {"count": MAX_INTERRUPTIONS})
    one = loaded(feeding)
    one.peer.take()
    assert chunk_rows(world, "status", "failures", "interruptions") == [("claimed", 1, 0)], (
        "counted, then tried"
    )


def test_what_an_engine_cured_is_told_to_its_jobs(world: World, feeding: Feeds) -> None:
    job = world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    chunk = one.peer.take()
    one.peer.say(Warned(chunk.chunk, "gpu_out_of_memory", "batch size 8 -> 4"))
    until(lambda: "job.warning" in {name for _, name in world.events(job.id)})
    (event,) = (event for event in world.jobs.events(job.id, 0) if event.type == "job.warning")
    assert event.data == {
        "replica": str(one.lease.id),
        "chunk": str(chunk.chunk),
        "code": "gpu_out_of_memory",
        "change": "batch size 8 -> 4",
    }


def test_progress_is_stored_and_keeps_the_engine_from_stalling(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    chunk = one.peer.take()
    one.peer.say(Progressed(((chunk.chunk, 1),), 5))
    until(lambda: chunk_rows(world, "requests_done") == [(1,)])


def test_an_answer_that_is_told_twice_or_was_never_asked_for_is_passed_over(
    world: World, feeding: Feeds
) -> None:
    job = world.running(chunks=2)
    give_payloads(world)
    one = loaded(feeding)
    first = one.peer.take()
    one.peer.answer(first)
    one.peer.answer(first)
    one.peer.say(Answered(uuid4(), (), 0.1, 1, 1, 0))
    one.peer.say(ChunkFailed(uuid4(), REFUSED, fatal=False, log_end=0))
    one.peer.answer(one.peer.take())
    until(lambda: len(world.coordination.pending_keys(job.id)) == 0)
    with world.sessions.begin() as session:
        assert session.scalar(text("SELECT requests_done FROM replicas")) == 4


def test_an_engine_that_did_not_survive_a_chunk_it_was_never_given_has_died(
    world: World, feeding: Feeds
) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    one.peer.take()
    one.peer.status = 1
    one.peer.say(ChunkFailed(uuid4(), REFUSED, fatal=True, log_end=0))
    assert failure_of(one.ending()).code is FailureCode.ENGINE_DIED
    assert chunk_rows(world, "failures") == [(1,)]


def test_a_chunk_that_was_taken_away_is_dropped_and_forgotten(world: World, feeding: Feeds) -> None:
    world.running(chunks=2)
    give_payloads(world)
    one = loaded(feeding)
    chunk = one.peer.take()
    with world.sessions.begin() as session:
        session.execute(text("DELETE FROM chunks WHERE id = :id"), {"id": chunk.chunk})
    assert one.peer.hear(Drop).chunks == (chunk.chunk,)
    one.peer.answer(chunk)
    answer_one(world, one.peer)
    assert chunk_rows(world, "status") == [("answered",)]


def test_a_lease_that_is_given_up_ends_everything_at_once(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    give_payloads(world)
    one = loaded(feeding)
    chunk = one.peer.take()
    one.tenure.lost = True
    one.peer.answer(chunk)
    assert isinstance(one.ending(), Fenced)
    assert one.peer.stopped
    assert chunk_rows(world, "status") == [("claimed",)]


def test_a_lease_that_somebody_else_ended_is_lost(world: World, feeding: Feeds) -> None:
    one = loaded(feeding)
    world.expire(one.lease)
    world.scheduling.expire_once()
    ending = one.ending()
    assert isinstance(ending, Fenced)
    assert str(one.lease.id) in ending.reason
