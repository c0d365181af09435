"""When the scheduler may leave out the steps of a turn: never while a job waits or an engine lives."""

from __future__ import annotations

from tests.world import World


def test_nothing_is_to_be_done_once_every_job_has_ended(world: World) -> None:
    assert world.scheduling.at_rest()
    job = world.submit()
    assert not world.scheduling.at_rest()
    world.jobs.pause(job)
    assert not world.scheduling.at_rest()
    world.jobs.cancel(job)
    assert world.scheduling.at_rest()


def test_an_engine_without_a_job_still_is_looked_after(world: World) -> None:
    [device] = world.devices(1)
    replica = world.replica(device)
    assert not world.scheduling.at_rest()
    world.expire(replica)
    assert world.scheduling.expire_once() == [replica.id]
    assert world.scheduling.at_rest()
