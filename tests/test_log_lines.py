"""The service's own log lines, whatever a job, a client or an exception puts into them."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading

import pytest

from app.asking import as_here, working_on
from app.domain.keys import new_token
from app.log_lines import PathOnly, RecordFormatter
from tests.domain.test_visible import HOSTILE, drives_nothing

FORGED = "2026-11-22 00:00:00,000 INFO app: all is well"


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    surprise = (type(error), error, None) if error else None
    return logging.LogRecord("app", logging.WARNING, __file__, 1, message, args, surprise)


def test_a_record_drives_nothing_and_forges_none() -> None:
    text = RecordFormatter().format(record("replica: %s", f"{HOSTILE}\r{FORGED}\n{FORGED}\u2028{FORGED}"))
    assert drives_nothing(text)
    assert not any(line.startswith(FORGED) for line in text.splitlines())
    assert len(text.splitlines()) == 3


def test_an_exceptions_own_words_stand_under_its_record() -> None:
    text = RecordFormatter().format(record("it failed", error=ValueError(f"{HOSTILE}\n{FORGED}")))
    assert drives_nothing(text)
    assert all(line.startswith("  ") for line in text.splitlines()[1:])


def test_a_key_is_in_no_record() -> None:
    key = new_token()
    for each in (record("said %s", key), record("failed", error=ValueError(key))):
        assert key not in RecordFormatter().format(each)


@pytest.mark.parametrize("query", ["", "?key=hunter2", "?evq%5Fhunter2=1", "?a=1?token=hunter2"])
def test_an_access_line_has_no_query(query: str) -> None:
    said = record('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "GET", f"/v1/jobs{query}", "1.1", 200)
    assert PathOnly().filter(said)
    assert said.getMessage() == '127.0.0.1:1 - "GET /v1/jobs HTTP/1.1" 200'


def said_by(code: str) -> str:
    """What a process writes that says so with these `words`."""
    words = f"{HOSTILE}\n{FORGED} {new_token()}"
    command = [sys.executable, "-c", f"words = {words!r}; {code}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert drives_nothing(answer.stderr)
    assert not re.search(r"evq_[^*]", answer.stderr)
    assert not any(line.startswith(FORGED) for line in answer.stderr.splitlines())
    return answer.stderr


@pytest.mark.parametrize("name", ["app.web.problems", "uvicorn.error", "sqlalchemy", "py.warnings"])
def test_every_logger_of_a_process_writes_so(name: str) -> None:
    says = f"import logging; logging.getLogger({name!r}).error('%s', words)"
    assert name in said_by(f"from app.log_lines import set_up; set_up(); {says}")


@pytest.mark.parametrize(
    "fails",
    [
        "from app.log_lines import set_up; set_up(); raise ValueError(words)",
        "from app.log_lines import set_up; set_up(); import threading; t = threading.Thread(target=int, args=[words]);"
        " t.start(); t.join()",
        "import app.cli.main as m; m.cli = lambda: int(words); m.main()",
    ],
    ids=["a process", "a thread", "a verb"],
)
def test_what_nobody_caught_is_written_so_too(fails: str) -> None:
    assert "ValueError" in said_by(fails)


AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_a_line_begins_with_a_time_as_events_have_it() -> None:
    said = record("hello")
    said.created = 1764244800.25
    assert RecordFormatter().format(said) == "2025-11-27T12:00:00.250Z WARNING app: hello"


def test_a_line_names_what_is_worked_on() -> None:
    with working_on("job", "j"), working_on("replica", "r"):
        text = RecordFormatter().format(record("hello"))
    assert text.endswith(" WARNING app: [job j] [replica r] hello")
    assert "[" not in RecordFormatter().format(record("hello"))


def test_as_json_a_record_is_one_object_on_one_line() -> None:
    token = new_token()
    with working_on("job", "j"):
        line = RecordFormatter("json").format(record("said %s\n%s", token, HOSTILE, error=ValueError(token)))
    assert "\n" not in line
    assert drives_nothing(line)
    told = json.loads(line)
    assert list(told) == ["at", "level", "logger", "job", "message", "error"]
    assert re.fullmatch(AT, told["at"])
    assert (told["level"], told["logger"], told["job"]) == ("WARNING", "app", "j")
    assert token not in line
    assert "ValueError" in told["error"]


@pytest.mark.parametrize(
    "name", ["app.web", "uvicorn.access", "uvicorn.error", "celery.worker", "sqlalchemy"]
)
def test_every_logger_writes_json_where_that_is_asked_for(name: str) -> None:
    code = (
        f"import logging; from app.log_lines import set_up; set_up('json');"
        f" logging.getLogger({name!r}).error('%s', 'hello')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(answer.stderr)["logger"] == name


def test_a_thread_names_what_was_worked_on_where_it_began() -> None:
    found: list[str] = []

    def say() -> None:
        found.append(RecordFormatter().format(record("hello")))

    with working_on("replica", "r"):
        thread = threading.Thread(target=as_here(say))
    thread.start()
    thread.join()
    assert "[replica r] hello" in found[0]


def test_what_was_worked_on_is_forgotten_after_a_failure() -> None:
    with pytest.raises(ValueError, match="no"), working_on("job", "j"):
        raise ValueError("no")
    assert "[job" not in RecordFormatter().format(record("hello"))
