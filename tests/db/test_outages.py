"""An outage is waited out, and only an outage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError

from app.db.outages import is_outage, patiently, told
from app.db.session import Sessions

AWAY = OperationalError("SELECT 1", {}, Exception("server closed the connection"))


def test_a_call_is_repeated_until_the_database_answers() -> None:
    answers: Iterator[Exception | str] = iter([AWAY, AWAY, "found"])

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(ask, lambda: False) == "found"


def test_an_outage_is_raised_when_the_right_to_wait_is_over() -> None:
    def ask() -> None:
        raise AWAY

    with pytest.raises(OperationalError):
        patiently(ask, lambda: True)


def test_a_faulty_statement_is_no_outage() -> None:
    def ask() -> None:
        raise DataError("SELECT 1", {}, Exception("null character"))

    with pytest.raises(DataError):
        patiently(ask, lambda: False)


def test_a_terminated_backend_is_an_outage(sessions: Sessions) -> None:
    with pytest.raises(DBAPIError) as caught, sessions.begin() as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert is_outage(caught.value)


def test_users_hear_of_the_database_neither_statement_nor_rows() -> None:
    error = DataError(
        "INSERT INTO job_events VALUES (%s)", {"data": "a row"}, Exception("invalid input syntax")
    )
    assert told(error) == (
        "the database refused what was to be stored (DataError); the coordinator's log has the details"
    )
    assert told(KeyError("test")) == "KeyError: 'test'"
