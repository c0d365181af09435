"""Queries that run many times a second find their rows by an index, however many chunks there are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from app.db.capacity import CapacityRepository
from app.db.chunks import ChunkRepository
from app.db.claims import ClaimRepository
from app.db.counts import CountRepository
from app.db.engine_measures import EngineMeasureRepository
from app.db.headway import HeadwayRepository
from app.db.job_leases import JobLeaseRepository
from app.db.listings import ListingRepository
from app.db.occupancies import OccupancyRepository
from app.db.session import Sessions
from app.db.tables import JobRow
from app.db.tallies import TallyRepository
from app.db.unheld_jobs import UnheldJobRepository
from app.db.waiting_jobs import WaitingJobRepository
from app.db.waits import WaitRepository
from app.domain.ids import uuid7
from app.domain.job import JobStatus
from app.domain.job_filter import JobFilter
from app.domain.lease import Lease
from tests.world import FINGERPRINT

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = Lease(uuid7(), uuid7())
Ask: TypeAlias = Callable[[Session], object]


def asked(session: Session, ask: Ask) -> tuple[str, Any]:
    """The first statement that a query is put in, with its parameters; a lock is none."""
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        statements.append((statement, parameters))

    event.listen(session.connection(), "before_cursor_execute", note)
    ask(session)
    return next(told for told in statements if "advisory" not in told[0])


def plan(session: Session, ask: Ask) -> str:
    """How the server would answer it if it could not read whole tables."""
    session.execute(text("SET LOCAL enable_seqscan = off"))
    statement, parameters = asked(session, ask)
    return "\n".join(session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda session: CapacityRepository(session).work(), "chunks_pending"),
        (lambda session: ChunkRepository(session).collect(uuid7(), FINGERPRINT), "chunks_uncollected"),
        (lambda session: HeadwayRepository(session).of_job(uuid7(), [uuid7()]), "chunks_claimed"),
        (lambda session: HeadwayRepository(session).of_job(uuid7(), [uuid7()]), "chunks_uncollected"),
        (lambda session: ChunkRepository(session).give_back([uuid7()]), "chunks_claimed"),
        (lambda session: ClaimRepository(session)._suspect(uuid7()), "chunks_suspected"),
        (
            lambda session: ChunkRepository(session).wanted(LEASE, [uuid7()]),
            "chunks_claimed",
        ),
        (lambda session: UnheldJobRepository(session).fail_late(), "jobs_unended"),
        (lambda session: UnheldJobRepository(session).fail_lost(), "jobs_unended"),
        (lambda session: JobLeaseRepository(session).first_in_line(), "jobs_by_turn"),
        (lambda session: UnheldJobRepository(session).announce(timedelta(), 50), "jobs_by_turn"),
        (lambda session: WaitingJobRepository(session).ids(), "jobs_live"),
        (lambda session: UnheldJobRepository(session).requeue_expired("over"), "jobs_live"),
        (lambda session: ClaimRepository(session)._in_line(LEASE, "key", 0, 32), "jobs_of_engine"),
        (lambda session: ClaimRepository(session)._giving_way(LEASE, "key"), "chunks_retried"),
        (lambda session: EngineMeasureRepository(session).recall("name"), "engine_measures_name"),
        (lambda session: CountRepository(session).jobs(), "jobs_ended"),
        (lambda session: CountRepository(session).jobs(), "jobs_unended"),
        (lambda session: TallyRepository(session).sums(), "replicas_live"),
        (lambda session: OccupancyRepository(session).ended(LONG_AGO), "replicas_ended"),
        (lambda session: OccupancyRepository(session).jobs(LONG_AGO, ["key"]), "jobs_live"),
        (lambda session: OccupancyRepository(session).jobs(LONG_AGO, ["key"]), "jobs_ended_lately"),
        (lambda session: OccupancyRepository(session).counts(JobFilter(team="red"), 1), "jobs_counted"),
        (lambda session: OccupancyRepository(session).has_any("red"), "jobs_counted"),
        (lambda session: WaitRepository(session).going_on("red", 1), "jobs_live"),
    ],
    ids=[
        "work",
        "collect",
        "in hands",
        "ended",
        "give back",
        "suspect",
        "wanted",
        "late",
        "lost",
        "first in line",
        "announce",
        "waiting",
        "expired",
        "claims",
        "claims that give way",
        "measures",
        "count of jobs that are over",
        "count of the others",
        "counts of what replicas do",
        "replicas that ended lately",
        "jobs that run",
        "jobs that ended lately",
        "jobs of a team by status",
        "any job of a team",
        "jobs that go on",
    ],
)
def test_a_frequent_query_has_an_index(sessions: Sessions, ask: Ask, index: str) -> None:
    with sessions() as session:
        assert index in plan(session, ask)


def test_a_job_is_read_without_its_document(sessions: Sessions) -> None:
    with sessions() as session:
        statement, _ = asked(session, lambda session: session.get(JobRow, uuid7()))
    assert "jobs.provenance" in statement
    assert "jobs.results" not in statement


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (JobFilter(owner="rare"), "jobs_of_owner"),
        (JobFilter(status=JobStatus.PAUSED), "jobs_of_status"),
        (JobFilter(name="rare"), "jobs_named"),
        (JobFilter(tag="rare"), "jobs_tagged"),
        (JobFilter(model="rare"), "jobs_of_model"),
    ],
)
def test_a_filtered_list_reads_by_an_index(sessions: Sessions, wanted: JobFilter, index: str) -> None:
    with sessions() as session:
        assert index in plan(session, lambda session: ListingRepository(session).page(wanted, 50, None))


def test_a_list_reads_by_an_index_and_nothing_that_it_does_not_show(sessions: Sessions) -> None:
    def ask(session: Session) -> object:
        return ListingRepository(session).page(JobFilter(), 50, None)

    with sessions() as session:
        assert "jobs_newest" in plan(session, ask)
        statement, _ = asked(session, ask)
    read = statement.partition("FROM")[0].split(", ")
    large = {f"jobs.{name}" for name in ("spec", "error", "provenance", "results")}
    assert large.isdisjoint(column.partition(" ")[0] for column in read)
