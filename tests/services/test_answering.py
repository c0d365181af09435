"""What the answer to a submit asks of the database."""

from __future__ import annotations

from tests.services.test_telling import statements
from tests.world import World


def of_replicas(sent: list[str]) -> list[str]:
    return [statement for statement in sent if "replicas" in statement.partition("FROM")[2]]


def test_a_job_that_has_not_started_is_shown_without_asking_for_its_engines(world: World) -> None:
    running, waiting = world.running(), world.submit()
    world.replica(world.devices(1)[0])
    with statements(world) as sent:
        assert world.jobs.view(waiting).replicas == []
    assert of_replicas(sent) == []
    with statements(world) as sent:
        assert len(world.jobs.view(running.id).replicas) == 1
    assert of_replicas(sent)
