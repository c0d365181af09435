"""An engine that loads, fed: what it is told, and every way in which it does not come up."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from app.domain.failure import FailureCode
from app.domain.lease import Lease, Order
from tests.waiting import until
from tests.workers.gpu_worker.conftest import Feeds
from tests.workers.gpu_worker.peer import answer_one, chunk_rows, failure_of, give_payloads, logs
from tests.world import World
from workers.gpu_worker.endings import Released
from workers.protocol.engine import Died, Load, LoadFailed, Progressed, Raised, Warned

LOST = Raised("OSError", "gpt9 does not appear to have a file named config.json", "")


def test_a_model_is_loaded_as_its_replica_says(world: World, feeding: Feeds) -> None:
    job = world.running()
    one = feeding(max_batch_size=7)
    one.peer.write("loading weights")
    order = one.peer.load()
    assert (order.engine.backend, order.device, order.max_batch_size) == ("hf", "cpu", 7)
    until(lambda: "replica.started" in {name for _, name in world.events(job.id)})
    with world.sessions.begin() as session:
        (said,) = session.scalars(text("SELECT provenance FROM replicas")).all()
    assert said == {"versions": {}, "driver": "1", "load_seconds": 0.5}
    one.stopping.set()
    assert one.ending() == Released()
    assert one.peer.stopped
    assert logs(world, job.id) == ["loading weights\n"]


def test_each_job_hears_once_that_it_is_scored_as_stock(world: World, feeding: Feeds) -> None:
    def told(job: Lease) -> list[object]:
        events = world.jobs.events(job.id, 0)
        return [event.data for event in events if event.type == "job.warning"]

    change = {"code": "scored_as_stock", "change": "scoring_mode fast -> stock: it takes no trees"}
    one = feeding()
    one.peer.load(scored_as_stock="it takes no trees")
    jobs = []
    for _ in range(2):
        jobs.append(world.running(chunks=2))
        give_payloads(world)
        for _ in range(2):
            answer_one(world, one.peer)
    assert [told(job) for job in jobs] == [[{"replica": str(one.lease.id), **change}]] * 2


def test_a_model_that_cannot_be_loaded_is_named(feeding: Feeds) -> None:
    one = feeding()
    one.peer.hear(Load)
    one.peer.write("reading gpt9")
    one.peer.say(LoadFailed(LOST))
    failure = failure_of(one.ending())
    assert failure.code is FailureCode.MODEL_NOT_FOUND
    assert failure.log_tail == ("reading gpt9",)


def test_a_start_that_hides_its_reason_is_explained_by_its_log(feeding: Feeds) -> None:
    one = feeding()
    one.peer.hear(Load)
    one.peer.write("(EngineCore pid=7) ERROR 11-27 04:05:45 [core.py:1] Traceback (most recent call last):")
    one.peer.write("(EngineCore pid=7) ERROR 11-27 04:05:45 [core.py:1] ValueError: such a wing is unknown")
    one.peer.say(LoadFailed(Raised("RuntimeError", "Engine core initialization failed. See root cause", "")))
    failure = failure_of(one.ending())
    assert (failure.code, failure.message) == (
        FailureCode.ENGINE_START_FAILED,
        "ValueError: such a wing is unknown",
    )
    assert failure.facts == {"refused": True}, "another try would fail alike"


def test_an_engine_that_ends_while_it_loads_is_explained_by_its_log(world: World, feeding: Feeds) -> None:
    world.running(chunks=1)
    one = feeding()
    one.peer.hear(Load)
    one.peer.write("Traceback (most recent call last):\n  x\nRuntimeError: no such kernel")
    one.peer.die(1)
    failure = failure_of(one.ending())
    assert (failure.code, failure.message) == (
        FailureCode.ENGINE_START_FAILED,
        "RuntimeError: no such kernel",
    )
    assert chunk_rows(world, "status", "failures", "interruptions") == [("waiting", 0, 0)]


def test_a_process_that_dies_while_the_engine_loads_is_named(feeding: Feeds) -> None:
    one = feeding()
    one.peer.say(Died("EngineCore_DP0", 3))
    failure = failure_of(one.ending())
    assert failure.message == "EngineCore_DP0: the process ended with exit code 3"


def test_an_engine_that_passed_its_bounds_wants_memory(feeding: Feeds) -> None:
    one = feeding()
    one.peer.outgrew = "held 9.0 GiB of memory, more than the 8.0 GiB that one child may hold"
    one.peer.die(-9)
    failure = failure_of(one.ending())
    assert failure.code is FailureCode.HOST_OUT_OF_MEMORY
    assert failure.message.startswith("the engine held 9")
    assert "EVALQ_ENGINE_MEMORY_SHARE" in (failure.hint or "")


def test_an_engine_that_loads_for_ever_has_stalled(feeding: Feeds) -> None:
    failure = failure_of(feeding(stall_seconds=0.1).ending())
    assert (failure.code, failure.message) == (
        FailureCode.STALLED,
        "the engine did not load its model in 0.1 s",
    )


@pytest.mark.parametrize("how", ["its worker stops", "the scheduler asks"])
def test_a_replica_that_is_wanted_back_while_it_loads_is_let_go(feeding: Feeds, how: str) -> None:
    one = feeding()
    one.peer.say(Progressed((), 0))
    one.peer.say(Warned(uuid4(), "code", "change"))
    if how == "its worker stops":
        one.stopping.set()
    else:
        one.tenure.reply = Order.RELEASE
    assert one.ending() == Released()
