"""An engine's log, cut where its work changes hands."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from app.domain.ids import uuid7
from app.services.serving import Claimed
from tests.world import FINGERPRINT, chunk
from workers.gpu_worker.backlog import Hand
from workers.gpu_worker.engine_log import EngineLog
from workers.supervision.log_tail import LogTail

A, B, C = (uuid7() for _ in range(3))


class Engine:
    """An engine that writes to its log, and its supervisor, who keeps what is whose."""

    def __init__(self, path: Path, most_bytes: int = 1 << 20) -> None:
        self.path = path
        self.path.touch()
        self.hand = Hand()
        self.kept: list[tuple[UUID | None, str]] = []
        self.log = EngineLog(
            LogTail(path, most_bytes), self.hand, lambda text, job: self.kept.append((job, text))
        )

    def claim(self, *jobs: UUID) -> None:
        if not self.hand.claimed:
            self.log.begin()
        self.hand.claimed.extend(Claimed(chunk(job, 0), FINGERPRINT) for job in jobs)

    def write(self, text: str) -> int:
        with self.path.open("a") as file:
            file.write(text)
        return self.path.stat().st_size

    def end(self, log_end: int) -> None:
        self.log.end(self.hand.claimed.popleft().chunk.job_id, log_end)

    def look(self) -> None:
        """A second later."""
        self.log._looked_at = 0.0
        self.log.look()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = Engine(tmp_path / "engine.log")
    made.write("loading\n")
    made.log.loaded()
    assert made.kept.pop() == (None, "loading\n")
    return made


def test_a_start_is_kept_as_it_goes_on(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "engine.log")
    engine.write("one\n")
    engine.look()
    engine.write("two\nthr")
    engine.log.loaded()
    assert engine.kept == [(None, "one\n"), (None, "two\nthr")]


def test_what_is_written_on_a_chunk_is_its_jobs(engine: Engine) -> None:
    engine.claim(A, B, A)
    first = engine.write("a fails\n")
    second = engine.write("b fails")
    engine.write("a again\n")
    engine.look()
    assert engine.kept == [], "it is not known yet whose it is"
    engine.end(first)
    engine.end(second)
    engine.look()
    assert engine.kept == [(A, "a fails\n"), (B, "b fails"), (A, "a again\n")]


def test_the_chunks_of_one_job_are_kept_as_they_go_on(engine: Engine) -> None:
    engine.claim(A, A)
    end = engine.write("first\nsec")
    engine.end(end)
    assert engine.kept == []
    engine.write("ond\n")
    engine.look()
    assert engine.kept == [(A, "first\nsecond\n")]


def test_what_is_written_without_work_is_nobodys(engine: Engine) -> None:
    engine.claim(A)
    end = engine.write("a\n")
    engine.write("waiting\n")
    engine.end(end)
    engine.look()
    engine.write("still waiting\n")
    engine.claim(B)
    engine.end(engine.write("b\n"))
    engine.log.close(None)
    assert engine.kept == [(A, "a\n"), (B, "b\n")]


def test_a_failure_quotes_its_own_chunk_alone(engine: Engine) -> None:
    engine.claim(A, B, B)
    first = engine.write("secret of a\n")
    second = engine.write("b fails\n")
    engine.end(first)
    engine.hand.claimed.popleft()
    assert engine.log.last_lines(B, second) == ("b fails",)
    engine.log.end(B, second)
    assert engine.log.last_lines(B) == ()
    engine.write("b dies")
    assert engine.log.last_lines(B) == ("b dies",)
    assert engine.log.text() == "b dies"


def test_the_end_of_an_engine_is_told_to_the_job_it_ended_on(engine: Engine) -> None:
    engine.claim(A, B)
    engine.write("a dies")
    engine.hand.claimed.popleft()
    engine.log.close(A)
    assert engine.kept == [(A, "a dies")]


def test_an_engine_that_is_stopped_with_chunks_of_several_jobs_tells_none(engine: Engine) -> None:
    engine.claim(A, B)
    engine.write("whose is it?")
    engine.log.close(None)
    assert engine.kept == []


def test_after_a_log_was_emptied_nothing_goes_to_the_wrong_job(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "engine.log", most_bytes=1000)
    engine.log.loaded()
    engine.claim(A, A)
    end_of_first = engine.write("a" * 2000 + "\n")
    engine.look()
    assert [(job, text[:5]) for job, text in engine.kept] == [(A, "[2001")]
    end_of_second = engine.write("a\n" * 300)
    engine.claim(B, C)
    end_of_third = engine.write("b\n")
    for end in (end_of_first, end_of_second):
        assert engine.log.last_lines(A, end) == ()
        engine.end(end)
    assert engine.log.last_lines(B) == ()
    engine.end(end_of_third)
    engine.end(engine.write("c\n"))
    assert engine.kept[1:] == [(C, "c\n")]
