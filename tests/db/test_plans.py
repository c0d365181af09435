"""Questions that are asked many times a second find their rows by an index, however many chunks there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from app.db.capacity import CapacityRepository
from app.db.chunks import ChunkRepository
from app.db.job_leases import JobLeaseRepository
from app.db.session import Sessions
from app.domain.ids import uuid7
from tests.world import FINGERPRINT


def plan(sessions: Sessions, ask: Callable[[Session], object]) -> str:
    """How the server would answer the first question that is asked, if it could not read whole tables."""
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        asked.append((statement, parameters))

    with sessions() as session:
        connection = session.connection()
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        event.listen(connection, "before_cursor_execute", note)
        ask(session)
        statement, parameters = asked[0]
        lines = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
        return "\n".join(lines)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda session: CapacityRepository(session).work(), "chunks_pending"),
        (lambda session: ChunkRepository(session).collect(uuid7(), FINGERPRINT), "chunks_uncollected"),
        (lambda session: ChunkRepository(session).give_back([uuid7()]), "chunks_claimed"),
        (lambda session: JobLeaseRepository(session).fail_late(), "jobs_unended"),
        (lambda session: JobLeaseRepository(session).fail_lost(), "jobs_unended"),
        (lambda session: JobLeaseRepository(session).requeue_expired("over"), "jobs_live"),
    ],
    ids=["work", "collect", "give back", "late", "lost", "expired"],
)
def test_a_frequent_question_has_an_index(
    sessions: Sessions, ask: Callable[[Session], object], index: str
) -> None:
    assert index in plan(sessions, ask)
