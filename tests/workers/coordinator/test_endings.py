"""How a try at a job ends that does not bring its results: what its user wants, what is lost, what dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from uuid import UUID

import msgpack
import pytest
from sqlalchemy import text

from app.backends import BACKENDS
from app.domain.failure import Failure, FailureCode
from app.domain.job import LATE, JobStatus, Phase
from app.domain.lease import Lease
from app.domain.remedy import Remedy
from app.domain.replica import ReplicaStatus
from app.errors import LeaseLostError
from tests.services.test_remedies import SHORTER, WIDER
from tests.waiting import until
from tests.workers.coordinator.peers import KEYS, PLAN, PREPARED, Engine, Try, chunk
from tests.world import World
from workers.coordinator import course, relay
from workers.coordinator.endings import Ended, EngineChanged, HarnessDied
from workers.coordinator.requests import CHUNKS_AT_ONCE
from workers.protocol.fork_server import Exited
from workers.protocol.harness import (
    AllCut,
    FromHarness,
    LookUp,
    Responses,
    Results,
    ScoringBegun,
    Working,
)

MANY = tuple(chunk(b"%032d" % number) for number in range(CHUNKS_AT_ONCE + 1))
SAID: dict[str, tuple[FromHarness, ...]] = {
    "before it says anything": (),
    "while it runs a task": (Working("toy"),),
    "with its requests built": (PREPARED,),
    "while it looks up": (PREPARED, LookUp(KEYS)),
    "while it cuts": (PREPARED, LookUp(KEYS), *MANY),
    "while engines answer": PLAN,
    "while it scores": (*PLAN, ScoringBegun()),
}


def death(ending: object) -> str:
    assert isinstance(ending, HarnessDied)
    return ending.death.words


@pytest.mark.parametrize("said", SAID)
def test_a_child_that_ends_is_dead_whenever_that_is(one: Try, said: str) -> None:
    one.child.says(*SAID[said])
    one.child.close()

    one.attempt.log.path.write_text("its last words")

    assert "harness child" in death(one.relay.run(one.stopping))
    assert one.job.status is JobStatus.RUNNING
    (piece,) = one.world.results.last_logs(one.lease.id, 9).pieces
    assert piece.text == "its last words"


@pytest.mark.parametrize("said", SAID)
def test_a_job_goes_on_after_a_death_whenever_that_was(one: Try, world: World, said: str) -> None:
    keys = {key for cut in (chunk(), *MANY) for key in cut.keys}
    one.child.says(*SAID[said])
    one.child.close()
    one.relay.run(one.stopping)
    pending = world.coordination.pending_keys(one.lease.id)
    assert pending <= keys

    rest = tuple(chunk(key) for key in sorted(keys - pending))
    with one.again().running(PREPARED, *rest, AllCut()):
        until(lambda: world.coordination.pending_keys(one.lease.id) == keys)


@pytest.mark.parametrize("said", [said for said in SAID if said != "while engines answer"])
def test_a_child_that_freezes_where_it_has_something_to_do_is_given_up(hasty: Try, said: str) -> None:
    words = death(hasty.ends(*SAID[said]))

    assert words.startswith("the harness child said nothing for 0.2 s while ")


def test_a_child_that_has_all_its_answers_and_says_nothing_is_given_up(hasty: Try) -> None:
    assert "said nothing" in death(hasty.ends(PREPARED, AllCut()))


def test_a_child_that_says_something_now_and_then_is_not_frozen(
    one: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(time.monotonic())
    monkeypatch.setattr(relay, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    heard: Iterator[FromHarness | TimeoutError] = iter(
        [*map(Working, map(str, range(60))), TimeoutError(), Exited(9, None)]
    )

    def receive(_: float) -> FromHarness:
        message = next(heard)
        if isinstance(message, TimeoutError):
            raise message
        return message

    monkeypatch.setattr(one.harness, "receive", receive)

    assert death(one.relay.run(one.stopping)) == "the harness child was ended by SIGKILL"


def test_a_child_that_waits_for_engines_is_not_frozen(
    hasty: Try, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[UUID] = []
    pending = world.coordination.pending_keys

    def counted(job_id: UUID) -> set[bytes]:
        asked.append(job_id)
        return pending(job_id)

    monkeypatch.setattr(world.coordination, "pending_keys", counted)
    with hasty.evaluating() as ending:
        until(lambda: len(asked) > 3)
        assert not ending.done()


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0\0\5hello",
        b"\0\0\0\1\xc1",
        b"\xff\xff\xff\xff",
        *(
            len(body).to_bytes(4, "big") + body
            for body in map(
                msgpack.packb,
                [{"type": "nonsense"}, {"type": "LookUp"}, {"type": "ChunkCut", "kind": "riddle"}, {}],
            )
        ),
    ],
)
def test_garbage_counts_as_a_death(one: Try, raw: bytes) -> None:
    one.child.writes(raw)

    assert "the harness child is gone" in death(one.relay.run(one.stopping))


def test_half_a_message_and_then_silence_is_a_death(hasty: Try) -> None:
    hasty.child.writes(b"\0\0")

    assert "took or told nothing for 0.2 s" in death(hasty.relay.run(hasty.stopping))


def test_half_a_message_and_then_the_end_is_a_death(one: Try) -> None:
    one.child.writes(b"\0\0\0\7abc")
    one.child.close()

    assert death(one.relay.run(one.stopping)) == "the harness child died"


def test_a_child_that_takes_nothing_is_given_up(hasty: Try, engine: Engine) -> None:
    hasty.world.running(chunks=1)
    engine.answers("long" * (1 << 20))

    assert "took or told nothing" in death(hasty.ends(PREPARED, LookUp((b"0/0", b"0/1"))))


@pytest.mark.parametrize(
    ("exited", "words", "outgrew"),
    [
        (Exited(3 << 8, None), "the harness child ended with exit status 3", False),
        (Exited(int(signal.SIGSEGV), None), "the harness child was ended by SIGSEGV", False),
        (Exited(int(signal.SIGKILL), "held too much"), "the harness child held too much", True),
    ],
)
def test_how_a_child_ended_is_known(one: Try, exited: Exited, words: str, outgrew: bool) -> None:
    ending = one.ends(Working("toy"), exited)

    assert isinstance(ending, HarnessDied)
    assert (ending.death.words, ending.death.task) == (words, "toy")
    assert (ending.death.status, ending.death.outgrew) == (exited.status, outgrew)


def test_whether_engines_had_answered_is_known(one: Try, engine: Engine) -> None:
    with one.evaluating(Working(None)) as ending:
        engine.answers("a")
        one.child.hears(Responses)
        one.child.says(Exited(9, None))
        died = ending.result(20)

    assert isinstance(died, HarnessDied)
    assert (died.death.answered, died.death.task) == (True, None)


def test_a_child_that_is_gone_may_have_said_its_last_words(one: Try) -> None:
    one.child.says(Exited(os.EX_SOFTWARE << 8, None))
    one.child.close()

    assert death(one.relay.run(one.stopping)) == "the harness child ended with exit status 70"


def test_a_lost_lease_ends_all_at_once(one: Try) -> None:
    one.attempt.lost.set()

    with pytest.raises(LeaseLostError):
        one.relay.run(one.stopping)
    assert one.job.status is JobStatus.RUNNING


def test_a_lease_that_is_over_writes_nothing(one: Try) -> None:
    one.world.expire(one.lease)

    with pytest.raises(LeaseLostError):
        one.ends(PREPARED)
    assert one.told("job.phase")[1:] == []


def test_a_cancelled_job_is_left(one: Try) -> None:
    with one.evaluating() as ending:
        one.world.jobs.cancel(one.lease.id)
        assert ending.result(20) == Ended()

    assert one.job.status is JobStatus.CANCELLED
    assert one.world.coordination.pending_keys(one.lease.id) == set()


def test_a_paused_job_keeps_its_chunks(one: Try) -> None:
    with one.evaluating() as ending:
        one.world.jobs.pause(one.lease.id)
        assert ending.result(20) == Ended()

    assert one.job.status is JobStatus.PAUSED
    assert one.world.coordination.pending_keys(one.lease.id) == set(KEYS)


def test_a_job_that_is_to_go_on_after_all_is_not_paused(one: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Lease] = []
    monkeypatch.setattr(one.world.coordination, "pause", asked.append)
    with one.evaluating() as ending:
        one.world.jobs.pause(one.lease.id)
        until(lambda: len(asked) > 1)
        assert not ending.done()


def test_a_job_that_is_late_fails(one: Try) -> None:
    with one.evaluating() as ending:
        with one.world.sessions.begin() as session:
            session.execute(text("UPDATE jobs SET deadline_at = now() - interval '1 s'"))
        assert ending.result(20) == Ended()

    assert one.job.status is JobStatus.FAILED
    assert one.job.error == LATE


def test_a_worker_that_stops_gives_its_job_back(one: Try) -> None:
    with one.evaluating() as ending:
        one.stopping.set()
        assert ending.result(20) == Ended()

    assert one.job.status is JobStatus.QUEUED
    assert one.world.coordination.pending_keys(one.lease.id) == set(KEYS)


OUT_OF_MEMORY = Failure(FailureCode.GPU_OUT_OF_MEMORY, "CUDA out of memory")


def remedied(monkeypatch: pytest.MonkeyPatch, remedy: Remedy | None) -> None:
    """What hf's engines are given when they fail."""
    backend = replace(BACKENDS["hf"], remedy=lambda *_: remedy)
    monkeypatch.setattr(course, "BACKENDS", BACKENDS | {"hf": backend})


def fail(engine: Engine) -> None:
    engine.world.serving.end(engine.lease, ReplicaStatus.FAILED, OUT_OF_MEMORY)


def test_an_engine_that_nothing_mends_fails_its_job(
    one: Try, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedied(monkeypatch, None)
    with one.evaluating() as ending:
        fail(engine)
        assert ending.result(20) == Ended()

    assert one.job.status is JobStatus.FAILED
    assert one.job.error
    assert one.job.error.code is FailureCode.GPU_OUT_OF_MEMORY


def test_another_engine_of_equal_answers_goes_on_with_the_same_chunks(
    one: Try, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedied(monkeypatch, WIDER)
    with one.evaluating() as ending:
        fail(engine)
        until(lambda: one.job.engine == WIDER.engine)
        assert not ending.done()
        assert one.world.coordination.pending_keys(one.lease.id) == set(KEYS)


def test_an_engine_that_failed_while_its_job_was_prepared_is_changed_before_one_is_asked_for(
    one: Try, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedied(monkeypatch, WIDER)
    fail(engine)
    with one.running(*PLAN):
        until(lambda: one.job.phase != Phase.PREPARING)
    told = [kind for _, kind in one.world.events(one.lease.id) if kind in {"job.phase", "job.retrying"}]
    assert one.job.engine == WIDER.engine
    assert told == ["job.phase", "job.retrying", "job.phase"]


def test_a_job_that_finds_all_its_answers_does_not_mind_an_engine_that_failed(
    one: Try, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedied(monkeypatch, None)
    fail(engine)
    one.ends(PREPARED, AllCut(), ScoringBegun(), Results("{}", "m", "2026-01-01"))
    assert one.job.error is None or one.job.error.code != OUT_OF_MEMORY.code


def test_an_engine_of_other_answers_ends_the_try(
    one: Try, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedied(monkeypatch, SHORTER)
    with one.evaluating() as ending:
        fail(engine)
        assert ending.result(20) == EngineChanged()

    assert one.job.phase is Phase.PREPARING
    assert one.world.coordination.pending_keys(one.lease.id) == set()
