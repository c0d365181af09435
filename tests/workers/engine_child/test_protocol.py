"""The engine child's side of the socket, with the engine that needs no model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.protocol.engine import Answered, Died, LoadFailed, Progressed

from .supervisor import BOOTSTRAP, PATIENCE_SECONDS, Supervisor, engine_child, values

PAIRS = [[[1, 2, 3], [n]] for n in range(20)]


@pytest.fixture
def child() -> Iterator[Supervisor]:
    with engine_child(sys.executable) as supervisor:
        yield supervisor


def test_chunks_sent_ahead_are_answered_in_order(child: Supervisor) -> None:
    assert child.loaded("echo").window == 0
    sent = [child.send_chunk("loglikelihood", PAIRS) for _ in range(5)]
    answers = [child.answered() for _ in sent]
    assert [answer.chunk for answer in answers] == sent
    assert all(answer.responses == answers[0].responses for answer in answers)


def test_an_answer_has_a_response_for_each_request_and_what_they_took(child: Supervisor) -> None:
    child.load("echo")
    answer = child.ask("loglikelihood", PAIRS)
    assert len(answer.responses) == len(PAIRS)
    assert answer.tokens == 80
    answer = child.ask("generate_until", ["one two", "three"], gen_kwargs={"until": ["\n"]})
    assert [type(response) for response in values(answer)] == [str, str]
    assert answer.tokens == 3 + 8


def test_progress_is_told_a_few_times_a_second(child: Supervisor) -> None:
    child.load("echo", delay_seconds=0.05)
    child.send_chunk("loglikelihood", PAIRS)
    answer, before = child.settle()
    assert isinstance(answer, Answered)
    told = [message.answered for message in before if isinstance(message, Progressed)]
    done = [count for ((chunk, count),) in told if chunk == answer.chunk]
    assert done == sorted(done)
    assert 1 <= len(done) == len(before) <= 4 * answer.seconds + 1


def test_a_failed_chunk_is_told_with_its_error_and_the_next_one_is_answered(child: Supervisor) -> None:
    child.load("echo", fail_on="poison")
    guilty = child.send_chunk("generate_until", ["fine", "some poison here"])
    innocent = child.send_chunk("generate_until", ["fine"])
    failed = child.failed()
    assert failed.chunk == guilty
    assert failed.error.type == "workers.engine_child.echo.faults.EchoError"
    assert "poison" in failed.error.message
    assert "Traceback" in failed.error.traceback
    assert child.answered().chunk == innocent


def test_every_chunk_ends_with_how_far_the_log_goes(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    with engine_child(sys.executable, log=log) as child:
        child.load("echo", fail_on="poison")
        before = log.stat().st_size
        quiet = child.ask("generate_until", ["fine"])
        child.send_chunk("generate_until", ["poison"])
        failed = child.failed()
        assert (quiet.log_end, failed.log_end) == (before, log.stat().st_size)
        assert "poison" in log.read_bytes()[before : failed.log_end].decode()
        assert failed.fatal is False


def test_an_engine_that_does_not_survive_a_chunk_says_so(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    with engine_child(sys.executable, log=log) as child:
        child.load("echo", fails_with="ecc", fails_while="answering")
        child.send_chunk("generate_until", ["fine"])
        failed = child.failed()
        assert (failed.fatal, failed.log_end) == (True, log.stat().st_size)
        assert child.process.wait(PATIENCE_SECONDS) == 1


@pytest.mark.parametrize("mode", [{}, {"stream": True, "window": 30}])
def test_an_engine_that_dies_says_which_process_did(tmp_path: Path, mode: dict[str, Any]) -> None:
    log = tmp_path / "engine.log"
    with engine_child(sys.executable, log=log) as child:
        child.loaded("echo", dies_on="deadly", delay_seconds=0.01, **mode)
        for word in ("fine", "deadly", "other"):
            child.send_chunk("generate_until", [f"{word} {number}" for number in range(20)])
        said = []
        while (message := child.wire.receive(PATIENCE_SECONDS)) is not None:
            said.append(message)
        assert said[-1] == Died("EchoCore", -11)
        assert "EchoCore process died unexpectedly (exit code: -11)" in log.read_text()
        assert child.process.wait(PATIENCE_SECONDS) == 70
        settled = [message for message in said if isinstance(message, Answered)]
        assert len(settled) == (0 if mode else 1), "one that streams has several in its hands"


def test_an_engine_that_streams_says_how_many_requests_it_wants(child: Supervisor) -> None:
    assert child.loaded("echo", stream=True, window=12).window == 12


def test_garbage_on_the_socket_ends_it(child: Supervisor) -> None:
    child.loaded("echo")
    child.connection.send({"type": "Nonsense"})
    assert child.process.wait(PATIENCE_SECONDS) == 1


def test_a_pair_of_tokens_fails_by_its_length(child: Supervisor) -> None:
    child.load("echo", fail_on=5)
    child.send_chunk("loglikelihood", [[[1], [2]], [[1, 2, 3], [4, 5]]])
    child.failed()
    child.ask("loglikelihood", [[[1], [2]]])


def test_an_engine_that_cannot_load_says_why_and_ends(child: Supervisor) -> None:
    failed = child.load("no-such-backend")
    assert isinstance(failed, LoadFailed)
    assert failed.error.type == "ValueError"
    assert child.process.wait(PATIENCE_SECONDS) == 1


def test_the_end_of_the_stream_ends_it_in_the_middle_of_a_chunk(child: Supervisor) -> None:
    child.load("echo", delay_seconds=600)
    child.send_chunk("loglikelihood", PAIRS)
    child.connection.close()
    assert child.process.wait(PATIENCE_SECONDS) == 0


def test_nothing_beside_the_package_is_importable(python: Path, tmp_path: Path) -> None:
    code = (
        f"import runpy; runpy.run_path({str(BOOTSTRAP)!r})['load_workers']();"
        "import importlib.util; import workers.engine_child.main;"
        "print([name for name in ('app', 'celery', 'sqlalchemy') if importlib.util.find_spec(name)])"
    )
    ran = subprocess.run(
        [str(python), "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
