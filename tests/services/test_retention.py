"""What is too old goes, a piece at a time; what a live job may need stays, however old."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.chunk import Room
from app.domain.job_filter import JobFilter
from app.domain.lease import Lease
from app.domain.output import SampleLine
from app.domain.replica import ReplicaStatus
from app.services import retention
from app.services.retention import Ages, Kept, RetentionService, Sweeper, old_log_files
from app.services.serving import Answer
from app.settings import Settings
from tests.world import ENGINE, World

MONTH = timedelta(days=30)


@pytest.fixture
def service(world: World, settings: Settings) -> RetentionService:
    return RetentionService(sessions=world.sessions, settings=settings)


def swept(service: RetentionService, ages: Ages, *, dry_run: bool = False) -> dict[Kept, int]:
    removed: Counter[Kept] = Counter()
    for what, count in service.sweep(ages, dry_run=dry_run):
        removed[what] += count
    return {what: count for what, count in removed.items() if count}


def execute(world: World, statement: str) -> None:
    with world.sessions.begin() as session:
        session.execute(text(statement))


def long_ago(world: World, table: str, *columns: str) -> None:
    """So it was, for every row."""
    for column in columns:
        execute(world, f"UPDATE {table} SET {column} = '2020-01-01' WHERE {column} IS NOT NULL")  # noqa: S608


def rows(world: World, table: str) -> int:
    with world.sessions.begin() as session:
        return int(session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608


def ended_job(world: World) -> UUID:
    """A job that ended years ago, with a line of log."""
    lease = world.running()
    world.coordination.add_samples(lease, "toy", 0, [SampleLine("{}", True)])
    world.coordination.add_log(lease.id, "a line\n")
    world.coordination.finish(lease, "{}", "tiny", "today")
    long_ago(world, "jobs", "created_at", "started_at", "ended_at")
    return lease.id


def answered(world: World) -> tuple[Lease, Lease]:
    """A live job with two stored answers, and the replica that gave them."""
    job = world.running(chunks=1)
    [device] = world.devices(1)
    replica = world.replica(device)
    [claimed] = world.serving.next(replica, ENGINE.key, Room(100, 10)).chunks
    world.serving.loaded(replica, {"dtype": "float32"})
    world.serving.answer(replica, claimed, Answer([b"1", b"2"], 1.0, 10))
    long_ago(world, "responses", "created_at")
    long_ago(world, "engine_facts", "created_at")
    return job, replica


def test_an_old_job_goes_with_all_that_belongs_to_it(world: World, service: RetentionService) -> None:
    ended_job(world)
    assert swept(service, Ages(jobs=MONTH)) == {Kept.JOBS: 1}
    assert [rows(world, t) for t in ("jobs", "job_tasks", "job_events", "samples", "log_pieces")] == [0] * 5
    assert swept(service, Ages(jobs=MONTH)) == {}, "safe to repeat"


def test_young_and_live_jobs_stay(world: World, service: RetentionService) -> None:
    ended_job(world)
    live = world.running()
    long_ago(world, "jobs", "created_at", "started_at")
    young = world.running()
    world.coordination.finish(young, "{}", "tiny", "today")
    assert swept(service, Ages(jobs=MONTH)) == {Kept.JOBS: 1}
    assert {job.job.id for job in world.jobs.page(JobFilter(), 10, None).views} == {young.id, live.id}


def test_more_jobs_than_one_transaction_takes_go(
    world: World, service: RetentionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.retention.JOBS_AT_ONCE", 2)
    for _ in range(5):
        ended_job(world)
    assert list(service.sweep(Ages(jobs=MONTH)))[:3] == [(Kept.JOBS, 2), (Kept.JOBS, 2), (Kept.JOBS, 1)]


def test_a_dry_run_counts_and_removes_nothing(world: World, service: RetentionService) -> None:
    ended_job(world)
    ages = Ages(jobs=MONTH, responses=MONTH, logs=MONTH)
    long_ago(world, "log_pieces", "at")
    assert swept(service, ages, dry_run=True) == {Kept.JOBS: 1, Kept.LOGS: 1}
    assert rows(world, "jobs") == rows(world, "log_pieces") == 1


def test_a_response_stays_while_a_job_of_its_fingerprint_lives(
    world: World, service: RetentionService
) -> None:
    job, _ = answered(world)
    assert swept(service, Ages(responses=MONTH), dry_run=True) == {}
    assert swept(service, Ages(responses=MONTH)) == {}
    assert len(world.coordination.collect(job, b"f" * 32).responses) == 2

    world.coordination.finish(job, "{}", "tiny", "today")
    assert swept(service, Ages(responses=MONTH), dry_run=True) == {Kept.RESPONSES: 2}
    assert swept(service, Ages(responses=MONTH)) == {Kept.RESPONSES: 2, Kept.FACTS: 1}
    assert rows(world, "engine_facts") == 0


def test_every_page_of_the_responses_is_seen_once(
    world: World, service: RetentionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("app.db.retention", "app.services.retention"):
        monkeypatch.setattr(f"{module}.PAGES_AT_ONCE", 1)
    execute(
        world,
        "INSERT INTO responses SELECT sha256('f'), sha256(i::text::bytea), 'x',"
        " CASE WHEN i % 2 = 0 THEN now() ELSE now() - interval '3 years' END FROM generate_series(1, 1000) i",
    )
    assert swept(service, Ages(responses=MONTH), dry_run=True) == {Kept.RESPONSES: 500}
    assert swept(service, Ages(responses=MONTH)) == {Kept.RESPONSES: 500}
    assert rows(world, "responses") == 500


def test_an_ended_replica_stays_as_long_as_a_job_that_it_served(
    world: World, service: RetentionService
) -> None:
    job, replica = answered(world)
    world.serving.add_log(replica.id, "loaded\n", None)
    world.serving.end(replica, ReplicaStatus.RELEASED)
    long_ago(world, "replicas", "placed_at", "ended_at")
    long_ago(world, "jobs", "started_at")
    assert swept(service, Ages(jobs=MONTH)) == {}

    world.coordination.finish(job, "{}", "tiny", "today")
    long_ago(world, "jobs", "ended_at")
    assert swept(service, Ages(jobs=MONTH)) == {Kept.JOBS: 1, Kept.REPLICAS: 1}
    assert rows(world, "replicas") == rows(world, "log_pieces") == 0


def test_old_logs_go_but_for_those_still_written(world: World, service: RetentionService) -> None:
    ended_job(world)
    live = world.running()
    world.coordination.add_log(live.id, "a line\n")
    long_ago(world, "log_pieces", "at")
    assert swept(service, Ages(logs=MONTH)) == {Kept.LOGS: 1}
    assert rows(world, "jobs") == 2


def test_of_a_long_log_the_last_lines_stay(world: World, settings: Settings) -> None:
    live = world.running()
    for number in range(5):
        world.coordination.add_log(live.id, f"{number}" * 100)
    small = settings.model_copy(update={"log_mib": 250 / (1 << 20)})
    assert swept(RetentionService(sessions=world.sessions, settings=small), Ages()) == {Kept.LOGS: 3}
    with world.sessions.begin() as session:
        left = session.scalars(text("SELECT text FROM log_pieces ORDER BY number")).all()
    assert left == ["3" * 100, "4" * 100]


def test_the_long_log_of_one_job_takes_no_lines_of_another(world: World, settings: Settings) -> None:
    replica = world.replica(world.devices(1)[0])
    quiet, loud = world.running(), world.running()
    world.serving.add_log(replica.id, "start", None)
    world.serving.add_log(replica.id, "quiet", quiet.id)
    for number in range(5):
        world.serving.add_log(replica.id, f"{number}" * 100, loud.id)
    small = settings.model_copy(update={"log_mib": 250 / (1 << 20)})
    assert swept(RetentionService(sessions=world.sessions, settings=small), Ages()) == {Kept.LOGS: 3}
    with world.sessions.begin() as session:
        left = session.scalars(text("SELECT text FROM log_pieces ORDER BY number")).all()
    assert left == ["start", "quiet", "3" * 100, "4" * 100]


def test_a_sweep_is_one_transaction_a_turn_and_begins_once_an_hour(
    world: World, service: RetentionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.retention.JOBS_AT_ONCE", 1)
    now = 0.0
    sweeper = Sweeper(service, Ages(jobs=MONTH), clock=lambda: now)
    for _ in range(3):
        ended_job(world)
    for left in (2, 1, 0, 0):
        sweeper.sweep_some()
        assert rows(world, "jobs") == left
    ended_job(world)
    sweeper.sweep_some()
    assert rows(world, "jobs") == 1
    now = retention.SWEEP_SECONDS
    sweeper.sweep_some()
    assert rows(world, "jobs") == 0


def test_old_log_files_of_this_host_go(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "jobs"
    folder.mkdir(parents=True)
    for name in ("old.log", "young.log", "server.log"):
        (folder / name).touch()
        if name != "young.log":
            os.utime(folder / name, (0, 0))
    assert old_log_files(tmp_path, MONTH, dry_run=True) == 1
    assert old_log_files(tmp_path, MONTH) == 1
    assert {file.name for file in folder.iterdir()} == {"young.log", "server.log"}
    assert old_log_files(tmp_path / "nowhere", MONTH) == 0


def test_usage_goes_by_an_age_of_its_own(world: World, service: RetentionService) -> None:
    with world.sessions.begin() as session:
        for days in (1, 40, 50):
            statement = (
                "INSERT INTO usage VALUES (now() - make_interval(days => :days), 'a', 'b', 'm', 9, 'useful')"
            )
            session.execute(text(statement), {"days": days})
    assert Ages.of(Settings(keep_usage_days=30)).usage == MONTH
    assert swept(service, Ages(jobs=MONTH, logs=MONTH)) == {}
    assert swept(service, Ages(usage=MONTH), dry_run=True) == {Kept.USAGE: 2}
    assert swept(service, Ages(usage=MONTH)) == {Kept.USAGE: 2}
    assert swept(service, Ages(usage=MONTH)) == {}
