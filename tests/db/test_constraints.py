"""What the database itself refuses, and that it refuses what the code thinks it does."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from app.db.session import Sessions
from app.db.tables import METADATA
from app.domain.chunk import ChunkStatus
from app.domain.job import TERMINAL, JobStatus, Phase, TaskStatus
from app.domain.replica import DeviceState, ReplicaStatus
from app.errors import DatabaseRefusedError
from tests.world import World

CONSTRAINT = text(
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE conrelid = CAST(:table AS regclass) AND conname = :name"
)


@pytest.mark.parametrize(
    ("table", "column", "enum"),
    [
        ("jobs", "status", JobStatus),
        ("jobs", "phase", Phase),
        ("job_tasks", "status", TaskStatus),
        ("chunks", "status", ChunkStatus),
        ("replicas", "status", ReplicaStatus),
        ("devices", "state", DeviceState),
    ],
)
def test_a_check_holds_a_column_to_its_enum(
    sessions: Sessions, table: str, column: str, enum: type[StrEnum]
) -> None:
    with sessions.begin() as session:
        definition = session.scalar(CONSTRAINT, {"table": table, "name": f"{column}_known"})
    assert set(re.findall(r"'(\w+)'", definition or "")) == set(enum)


def test_a_job_has_an_end_exactly_when_its_status_is_terminal(sessions: Sessions) -> None:
    with sessions.begin() as session:
        definition = session.scalar(CONSTRAINT, {"table": "jobs", "name": "ended_when_terminal"})
    assert set(re.findall(r"'(\w+)'", definition or "")) == TERMINAL


def test_migrations_make_what_the_tables_say(sessions: Sessions) -> None:
    with sessions.begin() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, METADATA) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE jobs SET status = 'done'",
        "UPDATE jobs SET status = 'succeeded'",
        "UPDATE jobs SET ended_at = now()",
        "UPDATE jobs SET phase = 'thinking'",
        "UPDATE chunks SET status = 'claimed'",
        "UPDATE devices SET state = 'free'",
        "UPDATE devices SET replica_id = NULL",
        "INSERT INTO job_events (job_id, number, at, type, data) SELECT id, 1, now(), 'x', '{}' FROM jobs",
    ],
)
def test_a_row_that_cannot_be_true_is_refused(world: World, statement: str) -> None:
    world.running(chunks=1)
    world.replica(world.devices(1)[0])
    with pytest.raises(DatabaseRefusedError, match="IntegrityError"), world.sessions.begin() as session:
        session.execute(text(statement))
