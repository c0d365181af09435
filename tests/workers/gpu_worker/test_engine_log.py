"""An engine's log, cut where its work changes hands."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from app.domain.ids import uuid7
from app.services.serving import Claimed
from tests.world import FINGERPRINT, chunk
from workers.gpu_worker.backlog import Backlog
from workers.gpu_worker.engine_log import EngineLog
from workers.supervision.log_tail import LogTail

A, B, C = (uuid7() for _ in range(3))


class Engine:
    """An engine that writes to its log, and its supervisor, who keeps what is whose."""

    def __init__(self, path: Path, most_bytes: int = 1 << 20, window: int = 0) -> None:
        self.path = path
        self.path.touch()
        self.backlog = Backlog()
        self.backlog.window = window
        self.kept: list[tuple[UUID | None, str]] = []
        self.log = EngineLog(
            LogTail(path, most_bytes), self.backlog, lambda text, job: self.kept.append((job, text))
        )

    def claim(self, *jobs: UUID) -> None:
        for job in jobs:
            self.log.before(job)
            self.backlog.add(Claimed(chunk(job, 0), FINGERPRINT), 0.0)

    def write(self, text: str) -> int:
        with self.path.open("a") as file:
            file.write(text)
        return self.path.stat().st_size

    def end(self, log_end: int, job: UUID | None = None) -> None:
        """The first chunk in hand, or that of a job, is settled."""
        (first, *_) = [each.id for each in self.backlog.chunks if job in {None, each.job_id}]
        settled = self.backlog.settle(first, 0.0)
        assert settled
        self.log.end(first, settled.writers, log_end)

    def drop(self, *jobs: UUID) -> None:
        self.backlog.keep({each.id for each in self.backlog.chunks if each.job_id not in jobs})

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
    engine.log.close(engine.backlog.jobs)
    assert engine.kept == [(A, "a\n"), (B, "b\n")]


def test_a_failure_quotes_its_own_chunk_alone(engine: Engine) -> None:
    engine.claim(A, B, B)
    first = engine.write("secret of a\n")
    second = engine.write("b fails\n")
    engine.end(first)
    assert engine.log.last_lines({B}, second) == ("b fails",)
    engine.end(second)
    assert engine.log.last_lines({B}) == ()
    engine.write("b dies")
    assert engine.log.last_lines({B}) == ("b dies",)
    assert engine.log.text() == "b dies"


def test_the_end_of_an_engine_is_told_to_the_job_it_ended_on(engine: Engine) -> None:
    engine.claim(A, B)
    engine.write("a dies")
    engine.log.close(engine.backlog.writers)
    assert engine.kept == [(A, "a dies")]


def test_an_engine_that_is_stopped_with_chunks_of_several_jobs_tells_none(engine: Engine) -> None:
    engine.claim(A, B)
    engine.write("whose is it?")
    engine.log.close(engine.backlog.jobs)
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
        assert engine.log.last_lines({A}, end) == ()
        engine.end(end)
    assert engine.log.last_lines({B}) == ()
    engine.end(end_of_third)
    engine.end(engine.write("c\n"))
    assert engine.kept[1:] == [(C, "c\n")]


@pytest.fixture
def streaming(tmp_path: Path) -> Engine:
    """An engine that works on all it has."""
    made = Engine(tmp_path / "engine.log", window=64)
    made.log.loaded()
    return made


def test_what_an_engine_that_streams_writes_for_several_jobs_is_nobodys(streaming: Engine) -> None:
    streaming.claim(A)
    streaming.write("a alone\n")
    streaming.claim(B)
    streaming.end(streaming.write("a or b\n"), A)
    streaming.write("b alone\n")
    streaming.look()
    streaming.claim(B)
    streaming.end(streaming.write("b still\n"))
    streaming.log.close(streaming.backlog.jobs)
    assert streaming.kept == [(A, "a alone\n"), (B, "b alone\n"), (B, "b still\n")]


def test_nothing_of_several_jobs_is_quoted(streaming: Engine) -> None:
    streaming.claim(A, B)
    streaming.write("secret of a or b\n")
    assert streaming.log.last_lines(streaming.backlog.writers) == ()
    assert "secret" in streaming.log.text(), "but its kind is read of it"
    streaming.log.close(streaming.backlog.writers)
    assert streaming.kept == []


@pytest.mark.parametrize("window", [0, 64])
def test_a_dropped_chunk_may_be_written_for_until_a_later_one_is_settled(tmp_path: Path, window: int) -> None:
    engine = Engine(tmp_path / "engine.log", window=window)
    engine.log.loaded()
    engine.claim(A, B)
    engine.drop(A)
    engine.end(engine.write("a still, then b\n"))
    engine.claim(C)
    engine.end(engine.write("a at last, then c\n"))
    assert engine.kept == []
    engine.claim(C)
    engine.end(engine.write("c\n"))
    assert engine.kept == [(C, "c\n")]


def test_a_log_of_several_jobs_does_not_grow_for_ever(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "engine.log", most_bytes=1000, window=64)
    engine.log.loaded()
    engine.claim(A, B)
    engine.end(engine.write("a or b" * 1000))
    assert engine.path.stat().st_size == 0
    assert engine.kept == []
