"""Whatever goes wrong with the database leaves it as an error of ours; an outage is waited out, and only an outage."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from app.db.outages import own_error, patiently
from app.db.session import Sessions, connected, make_sessions
from app.db.tables import KeyRow
from app.errors import AlreadyStoredError, DatabaseError, DatabaseRefusedError, DatabaseUnreachableError
from app.settings import Settings

AWAY = DatabaseUnreachableError("server closed the connection")
NOWHERE = {"database_url": "postgresql://127.0.0.1:1/none"}
SLEEP = "SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)"


def test_a_call_is_repeated_until_the_database_answers() -> None:
    answers: Iterator[Exception | str] = iter([AWAY, AWAY, "found"])

    def ask() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(ask, lambda: False) == "found"


@pytest.mark.parametrize(
    ("error", "over"), [(AWAY, True), (DatabaseRefusedError("a faulty statement"), False)]
)
def test_neither_a_lost_right_nor_a_faulty_statement_is_waited_for(error: DatabaseError, over: bool) -> None:
    def ask() -> None:
        raise error

    with pytest.raises(type(error)):
        patiently(ask, lambda: over)


@pytest.mark.parametrize("statement", ["SELECT pg_terminate_backend(pg_backend_pid())", SLEEP])
def test_a_lost_connection_and_a_statement_that_takes_too_long_are_outages(
    sessions: Sessions, statement: str
) -> None:
    with pytest.raises(DatabaseUnreachableError), sessions.begin() as session:
        session.execute(text(statement))


def terminate(sessions: Sessions, session: Session) -> None:
    pid = session.scalar(text("SELECT pg_backend_pid()"))
    with sessions.begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


def test_a_server_that_ends_a_session_before_its_commit_is_an_outage(sessions: Sessions) -> None:
    with pytest.raises(DatabaseUnreachableError), sessions.begin() as session:
        terminate(sessions, session)


def test_no_server_is_an_outage(settings: Settings) -> None:
    nowhere = settings.model_copy(update=NOWHERE)
    sessions = make_sessions(nowhere)
    with pytest.raises(DatabaseUnreachableError), sessions.begin() as session:
        session.execute(text("SELECT 1"))
    with pytest.raises(DatabaseUnreachableError, match=r"127\.0\.0\.1:1"), connected(nowhere):
        pass


@pytest.mark.parametrize(
    "error", [PoolTimeoutError("QueuePool limit"), InterfaceError("SELECT 1", {}, Exception("closed"))]
)
def test_a_pool_without_connections_and_a_broken_driver_are_outages(error: SQLAlchemyError) -> None:
    assert isinstance(own_error(error), DatabaseUnreachableError)


@pytest.mark.parametrize(
    "statement", ["SELECT 1/0", "SELECT nonsense", "INSERT INTO responses DEFAULT VALUES"]
)
def test_a_faulty_statement_is_refused(sessions: Sessions, statement: str) -> None:
    with pytest.raises(DatabaseRefusedError) as caught, sessions.begin() as session:
        session.execute(text(statement))
    assert not isinstance(caught.value, AlreadyStoredError | DatabaseUnreachableError)
    assert caught.value.__cause__


def test_what_is_stored_already_is_said_so_at_the_commit_too(sessions: Sessions) -> None:
    def add() -> None:
        with sessions.begin() as session:
            columns = {"role": "viewer", "team": "red", "prefix": "evq_x", "digest": b"x"}
            moment = session.scalar(text("SELECT now()"))
            session.add(KeyRow(id=UUID(int=1), name="a", created_at=moment, **columns))

    add()
    with pytest.raises(AlreadyStoredError):
        add()


def test_what_is_raised_in_a_transaction_beside_the_database_stays_what_it_is(sessions: Sessions) -> None:
    with pytest.raises(KeyError), sessions.begin():
        raise KeyError


def test_users_hear_of_a_refusal_neither_statement_nor_rows() -> None:
    error = own_error(DataError("INSERT INTO job_events VALUES (%s)", {"data": "a row"}, Exception("a row")))
    assert str(error) == "the database refused what was to be stored (DataError)"
    assert error.details == "a row"


def test_an_outage_is_told_in_one_line_without_the_statement() -> None:
    error = own_error(OperationalError("SELECT 1", {}, Exception("server closed\n\tthe connection")))
    assert str(error) == "the database does not answer: server closed the connection"
