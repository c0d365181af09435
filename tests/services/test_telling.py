"""What a replica tells the jobs that it serves, however many they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import event

from app.domain.failure import Failure, FailureCode
from app.domain.replica import ReplicaStatus
from tests.world import World


@contextmanager
def statements(world: World) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    engine = world.sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def told(world: World, jobs: int) -> tuple[list[UUID], int]:
    """So many jobs heard that their engine is up and that it ended; in how many statements."""
    running = [world.running(chunks=1).id for _ in range(jobs)]
    replica = world.replica(world.devices(1)[0])
    with statements(world) as sent:
        world.serving.loaded(replica, {})
        world.serving.end(replica, ReplicaStatus.FAILED, Failure(FailureCode.ENGINE_DIED, "it died"))
    return running, len(sent)


def test_every_job_hears_of_its_engine_in_its_own_numbers(world: World) -> None:
    other = world.submit(priority=1)
    jobs, _ = told(world, 3)
    for job_id in jobs:
        events = world.events(job_id)
        assert [number for number, _ in events] == list(range(1, len(events) + 1))
        assert [name for _, name in events][-2:] == ["replica.started", "replica.ended"]
    assert not {"replica.started", "replica.ended"} & {name for _, name in world.events(other)}


def test_many_jobs_are_told_in_as_many_statements_as_few(world: World) -> None:
    _, one = told(world, 1)
    world.devices(1)
    _, many = told(world, 6)
    assert many == one
