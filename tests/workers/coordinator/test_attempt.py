"""What harness children write is stored once, whatever the database does."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from app.asking import working_on
from app.domain.failure import Failure, FailureCode
from app.errors import DatabaseError, DatabaseRefusedError, DatabaseUnreachableError
from app.log_lines import CHILDREN, LogFormat, RecordFormatter, as_configured
from workers.coordinator import attempt
from workers.coordinator.attempt import AttemptLog, task_failure
from workers.protocol.harness import FailureTold


class Store:
    """Keeps what it is given, unless it is away."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.failure: DatabaseError | None = None

    def __call__(self, text: str) -> None:
        if self.failure:
            raise self.failure
        self.kept.append(text)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def log(tmp_path: Path, store: Store) -> AttemptLog:
    return AttemptLog(tmp_path / "log", 1 << 20, store)


def test_whole_lines_are_stored_as_they_come(log: AttemptLog, store: Store) -> None:
    log.upload()
    log.path.write_text("one\ntw")
    log.upload()
    log.upload()

    assert store.kept == ["one\n"]


def test_a_portion_at_a_time_until_the_end(
    log: AttemptLog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "PORTION_BYTES", 4)
    log.path.write_text("one\ntwo\nend")
    log.upload()
    assert store.kept == ["one\n"]

    log.upload(ended=True)
    assert store.kept == ["one\n", "two\n", "end"]


def test_what_could_not_be_stored_is_stored_later(log: AttemptLog, store: Store) -> None:
    log.path.write_text("one\n")
    store.failure = DatabaseUnreachableError("the database does not answer")
    with pytest.raises(DatabaseUnreachableError):
        log.upload()
    log.close()
    store.failure = None
    log.close()

    assert store.kept == ["one\n"]


def test_the_workers_log_says_why_an_end_is_not_stored(
    log: AttemptLog, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    log.path.write_text("one\n")
    store.failure = DatabaseRefusedError("the database refused it", "value too long")
    log.close()

    assert "value too long" in caplog.text


def test_each_line_is_a_record_that_names_the_job_for_who_collects_records(
    log: AttemptLog, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    own = "2026-11-27T16:47:26.142Z ERROR lm-eval: it failed"
    log.path.write_text(f"printed\n\n{own}\n")
    caplog.handler.setFormatter(RecordFormatter("json"))
    store.failure = DatabaseUnreachableError("the database does not answer")
    with working_on("job", "j"), working_on("trace", "t"), caplog.at_level("INFO", CHILDREN):
        with suppress(DatabaseUnreachableError):
            log.upload()
        store.failure = None
        log.upload()
    told = [json.loads(line) for line in caplog.text.splitlines()]
    assert [(each["level"], each["message"]) for each in told] == [("INFO", "printed"), ("ERROR", own)]
    assert {(each["job"], each["trace"], each["logger"]) for each in told} == {("j", "t", CHILDREN)}


@pytest.mark.parametrize(("log_format", "records"), [("json", True), ("text", False)])
def test_a_log_for_people_does_not_repeat_what_children_write(log_format: LogFormat, records: bool) -> None:
    level = as_configured(log_format)["loggers"][CHILDREN]["level"]
    assert (level <= logging.INFO, level > logging.CRITICAL) == (records, not records)


def test_the_last_lines_are_there_whatever_was_stored(log: AttemptLog) -> None:
    log.path.write_text("".join(f"{number}\n" for number in range(30)))
    log.upload(ended=True)

    assert log.last_lines() == tuple(str(number) for number in range(10, 30))


def test_a_tasks_failure_keeps_the_end_of_its_traceback() -> None:
    told = FailureTold("dataset_error", "no file", "".join(f"{n}\n" for n in range(30)), "name another")

    assert task_failure("toy", told) == Failure(
        FailureCode.DATASET_ERROR,
        "no file",
        task="toy",
        hint="name another",
        log_tail=tuple(str(n) for n in range(10, 30)),
    )
