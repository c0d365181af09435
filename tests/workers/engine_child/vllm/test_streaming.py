"""The vllm engine in processes of its own, as in production: requests of many chunks at once, drops, and its end.

One engine for all of these, which the last of them kills.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.waiting import until
from tests.workers.engine_child.supervisor import values
from workers.containment.shared_memory import ROOM
from workers.protocol.engine import Answered, ChunkFailed, Died, Draws, Drop, Loaded, Progressed

from .production import LONG, Engine, vllm_engine

MANY = 200
"""Generations that take far longer than a drop."""
PAIRS = [[[0, 5, 6, 7], [8]], [[0, 5, 6], [7, 8]], [[0, 9], [10]]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with vllm_engine() as engine:
        loaded = engine.load(tmp_path_factory.mktemp("cache"))
        assert isinstance(loaded, Loaded), f"{loaded}; {engine.log.read_text()[-3000:]}"
        assert loaded.window == 8, "twice max_num_seqs"
        engine.line.provenance = loaded.provenance
        yield engine


def settled(engine: Engine, count: int) -> dict[UUID, Answered | ChunkFailed]:
    """How the next chunks end, in that order."""
    return {message.chunk: message for message, _ in (engine.line.settle() for _ in range(count))}


def test_a_chunk_that_came_later_and_is_short_ends_first(engine: Engine) -> None:
    long = engine.line.send_chunk("generate_until", [[0, 5, 6]] * 2, gen_kwargs=LONG)
    short = engine.line.send_chunk("loglikelihood", PAIRS)
    ended = settled(engine, 2)
    assert list(ended) == [short, long]
    assert all(isinstance(end, Answered) for end in ended.values())


def test_tokens_of_one_long_generation_are_told_while_it_runs(engine: Engine) -> None:
    engine.line.send_chunk("generate_until", [[0, 5, 6]], gen_kwargs=LONG)
    answered, before = engine.line.settle()
    assert isinstance(answered, Answered)
    told = [message for message in before if isinstance(message, Progressed)]
    assert sum(message.tokens for message in told) > 10
    assert not any(count for message in told for _, count in message.answered)


def test_a_dropped_chunk_leaves_and_the_others_go_on(engine: Engine) -> None:
    dropped = engine.work(prompts=MANY)
    kept = engine.line.send_chunk("loglikelihood", PAIRS)
    engine.line.wire.send(Drop((dropped,)))
    last = engine.line.send_chunk("loglikelihood", PAIRS[:1])
    assert set(settled(engine, 2)) == {kept, last}


def test_the_child_hears_while_vllm_says_nothing(engine: Engine) -> None:
    """As in the midst of a prompt that takes minutes: here its core is stopped for a moment."""
    core = engine.processes()["EngineCore"]
    dropped = engine.work(prompts=MANY)
    os.kill(core, signal.SIGSTOP)
    refused = engine.line.send_chunk("generate_until", [[0, 5]], gen_kwargs={"until": [], "num_beams": 2})
    failed = engine.line.failed()
    assert (failed.chunk, failed.error.type) == (refused, "TypeError")
    engine.line.wire.send(Drop((dropped,)))
    os.kill(core, signal.SIGCONT)
    assert values(engine.line.ask("loglikelihood", PAIRS)) == values(engine.line.ask("loglikelihood", PAIRS))


def test_samples_are_the_same_whatever_is_answered_beside_them(engine: Engine) -> None:
    drawn = {"until": ["\n"], "do_sample": True, "temperature": 1.0, "max_gen_toks": 10}
    prompts = [[0, 5, number] for number in range(2, 14)]
    draws = Draws(3, tuple(number.to_bytes(16, "big") for number in range(12)))
    alone = engine.line.ask("generate_until", prompts, gen_kwargs=drawn, draws=draws)
    beside = engine.work()
    again = engine.line.send_chunk(
        "generate_until", prompts[::-1], gen_kwargs=drawn, draws=Draws(3, draws.requests[::-1])
    )
    ended = settled(engine, 2)
    assert set(ended) == {beside, again}
    answer = ended[again]
    assert isinstance(answer, Answered)
    assert answer.responses[::-1] == alone.responses
    assert len(set(alone.responses)) > 2


def test_what_one_job_asks_batches_of_changes_no_answer(engine: Engine) -> None:
    asked = {
        values(engine.line.ask("loglikelihood", PAIRS, batch_size=size))[1][0] for size in (1, 2, "auto")
    }
    assert len(asked) == 1


def test_a_killed_core_is_named_and_leaves_nothing(engine: Engine) -> None:
    processes, segments = engine.processes(), engine.segments()
    assert {"EngineCore", "Worker"} <= set(processes)
    assert segments
    engine.work(MANY)
    os.kill(processes["EngineCore"], signal.SIGKILL)
    assert engine.last() == [Died("EngineCore", -signal.SIGKILL)]
    assert engine.child.wait_gone(20)
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes.values())
    assert not any((ROOM / name).exists() for name in segments)
    until(lambda: not engine.folder.exists())
