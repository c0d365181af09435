"""GPU groups: one worker at a time reports them, people drain them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from app.domain.group import BackendReport, DeviceReport
from app.domain.replica import DeviceState
from app.errors import LeaseLostError, UnknownGroupError
from tests.domain.test_tolerance import FOUND
from tests.world import World

REPORT = DeviceReport("GPU-0", 0, "H100")


def test_a_worker_that_was_replaced_is_refused(world: World) -> None:
    def register() -> object:
        return world.groups.register(
            name="a", host="node1", kind="gpu", backends=["hf"], version="0", reports=[REPORT]
        )

    old, new = register(), register()
    with pytest.raises(LeaseLostError):
        world.groups.beat("a", old, ["hf"], [REPORT])  # type: ignore[arg-type]
    assert world.groups.beat("a", new, ["hf"], [REPORT]) == ["GPU-0"]  # type: ignore[arg-type]


def test_what_a_replaced_worker_saw_of_a_device_changes_nothing(world: World) -> None:
    (device,) = world.devices(1)
    old, new = (
        world.groups.register(
            name="a", host="node1", kind="gpu", backends=["hf"], version="0", reports=[REPORT]
        )
        for _ in range(2)
    )
    assert not world.groups.mark_device(device, old, DeviceState.DRAINED, "seen long ago")
    assert [found.state for found in world.groups.all()[0].group.devices] == [DeviceState.FREE]
    assert world.groups.mark_device(device, new, DeviceState.DRAINED, "in use")


def test_a_device_that_a_replica_holds_keeps_its_state(world: World) -> None:
    device = world.devices(1)[0]
    world.replica(device)
    world.mark(device)
    (state,) = world.groups.all()
    assert [found.state for found in state.group.devices] == [DeviceState.HELD]
    assert [replica.devices for replica in state.replicas] == [(device,)]


def test_draining_is_remembered_from_the_first_time(world: World) -> None:
    world.devices(1)
    world.groups.drain("a", by="dana", reason="driver update")
    first = world.groups.all()[0].group
    assert (first.drained_by, first.drain_reason) == ("dana", "driver update")
    world.groups.drain("a", by="bob")
    assert world.groups.all()[0].group == first
    world.groups.resume("a")
    now = world.groups.all()[0].group
    assert (now.drain_requested_at, now.drained_by, now.drain_reason) == (None, None, None)


def test_an_unknown_group_cannot_be_drained(world: World) -> None:
    with pytest.raises(UnknownGroupError):
        world.groups.drain("nope")


def test_a_device_that_is_reported_as_broken_is_drained_until_an_operator_resumes(world: World) -> None:
    lost = replace(REPORT, broken="it fell off the bus", warnings=("hot",), island=1)
    token = world.groups.register(
        name="a", host="node1", kind="gpu", backends=["hf"], version="0", reports=[REPORT]
    )
    assert world.groups.beat("a", token, ["hf"], [lost]) == []
    [device] = world.groups.all()[0].group.devices
    assert (device.state, device.reason) == (DeviceState.DRAINED, "it fell off the bus")
    assert (device.warnings, device.island, device.faulty) == (("hot",), 1, True)
    world.groups.resume("a")
    assert world.groups.beat("a", token, ["hf"], [lost]) == [], "it is still broken"
    world.groups.resume("a")
    assert world.groups.beat("a", token, ["hf"], [REPORT]) == ["GPU-0"]


def test_what_a_later_worker_measured_says_nothing_of_other_versions(world: World) -> None:
    told = BackendReport("vllm", FOUND.versions, tolerances=(FOUND,))
    token = world.groups.register(
        name="a", host="node1", kind="cuda", backends=["vllm"], version="0", reports=[REPORT]
    )
    world.groups.beat("a", token, ["vllm"], [REPORT], [told])
    assert world.groups.all()[0].group.installed == (told,)
    older = """UPDATE gpu_groups SET installed = jsonb_set(installed, '{vllm,versions,vllm}', '"0.32.0"')"""
    with world.sessions.begin() as session:  # by a worker that does not know the other column
        session.execute(text(older))
    assert world.groups.all()[0].group.installed == (BackendReport("vllm", {"vllm": "0.32.0"}),)
