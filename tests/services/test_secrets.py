"""A secret that something wrong repeats: whatever is written of it, the database and every answer are without it."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.db.session import Sessions
from app.domain.chunk import AfterFailure, Room
from app.domain.failure import Failure, FailureCode
from app.domain.replica import ReplicaStatus
from app.main import create_app
from app.settings import Settings
from tests.domain.test_redaction import PLACES, SECRETS
from tests.world import World

ANSWERS = ("", "/events", "/results", "/samples", "/logs", "/artifacts")


def everything_stored(sessions: Sessions) -> str:
    """Every row of every table, as pg_dump would write it."""
    with sessions.begin() as session:
        tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        rows = [session.scalars(text(f"SELECT t::text FROM {table} t")).all() for table in tables]  # noqa: S608
    return json.dumps([list(each) for each in rows])


def fail_everywhere(world: World, failure: Failure, said: str) -> str:
    """A job whose request, task, engine and whole fail with it, and which is warned and told of it before."""
    [device] = world.devices(1)
    lease = world.running(chunks=1)
    replica = world.replica(device)
    work = world.serving.next(replica, world.jobs.view(lease.id).job.engine.key, Room(1e9, 1))
    for claimed in work.chunks:
        world.serving.chunk_failed(replica, claimed.chunk, AfterFailure.GIVE_UP, [], failure)
    world.coordination.explain(lease, "evaluating")
    for service, held in ((world.coordination, lease), (world.serving, replica)):
        service.warn(held, {"code": "internal", "message": said, "settings": {"args": [said]}})
    world.coordination.task_failed(lease, "toy", failure)
    world.serving.end(replica, ReplicaStatus.FAILED, failure)
    world.coordination.fail(lease, failure)
    return str(lease.id)


@pytest.mark.parametrize("secret", SECRETS, ids=SECRETS.values())
def test_a_secret_in_a_failure_is_nowhere(
    world: World, sessions: Sessions, settings: Settings, secret: str
) -> None:
    lines = tuple(place.format(secret) for place in PLACES)
    failure = Failure(
        FailureCode.INTERNAL,
        "\n".join(lines),
        log_tail=lines,
        attempts=({"change": "x", "outcome": lines[0]},),
    )
    job_id = fail_everywhere(world, failure, lines[0])
    stored = everything_stored(sessions)
    assert job_id in stored
    assert secret not in stored
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as api:
        paths = [f"/v1/jobs/{job_id}{part}" for part in ANSWERS]
        for path in (*paths, "/v1/jobs", "/v1/queue", "/v1/groups", "/metrics"):
            assert secret not in api.get(path).text, path
