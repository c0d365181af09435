"""The devices of a group as their worker reports them, and what engines see of them."""

from __future__ import annotations

from datetime import UTC, datetime

from app.domain.engine_spec import EngineSpec
from app.domain.ids import uuid7
from app.domain.replica import Replica, ReplicaStatus
from app.settings import Settings
from tests.gpus.machine import Machine, gpu, mig
from workers.gpu_worker.group import GroupDevices


def test_an_engine_starts_with_the_driver_of_its_gpus(machine: Machine) -> None:
    machine(gpu(0))
    devices = GroupDevices(Settings(worker_group="a", worker_devices="0"))
    engine, now = EngineSpec(backend="hf", model="m"), datetime.now(UTC)
    command = devices.engine_command(
        Replica(uuid7(), "a", engine, ReplicaStatus.PLACED, ("GPU-0",), placed_at=now)
    )
    assert (command.device, command.driver) == ("cuda", {"driver": "580.65.06", "driver_cuda": "13.0"})


def test_reports_say_what_a_device_is_and_how_it_stands(machine: Machine) -> None:
    machine(*[gpu(n, links=[n ^ 1], capability=[9, 0], node=n // 2, slowed=0x40) for n in range(4)])
    reports = GroupDevices(Settings(worker_group="a", worker_devices="all")).reports()
    assert [report.island for report in reports] == [0, 0, 1, 1]
    assert [report.numa_node for report in reports] == [0, 0, 1, 1]
    assert (reports[0].capability, reports[0].warnings) == ("9.0", ("slowed down by heat",))


def test_devices_of_a_group_with_slices_are_numbered_in_order(machine: Machine) -> None:
    machine(mig(0, 40, 20), gpu(1), gpu(2))
    reports = GroupDevices(Settings(worker_group="a", worker_devices="2,0:0,1")).reports()
    assert [report.index for report in reports] == [0, 1, 2]
    reports = GroupDevices(Settings(worker_group="a", worker_devices="2,1")).reports()
    assert [report.index for report in reports] == [2, 1]


def test_a_gpu_that_falls_off_the_bus_is_reported_as_broken(machine: Machine) -> None:
    machine(gpu(0), gpu(1))
    devices = GroupDevices(Settings(worker_group="a", worker_devices="0,1"))
    machine(gpu(0, used=7), gpu(1, lost=True))
    left, lost = devices.reports()
    assert (left.memory_used_bytes, left.broken) == (7, None)
    assert (lost.id, lost.index) == ("GPU-1", 1)
    assert (lost.broken or "").startswith("the driver shows it no more")
