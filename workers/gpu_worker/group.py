"""A GPU group, seen from the worker that owns it: what it reports, starts engines on, and cleans."""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

from app.backends import python_of
from app.domain.group import BackendReport, DeviceReport
from app.domain.replica import DeviceState, Replica
from app.errors import DatabaseError, GpuUnavailableError, LeaseLostError
from app.gpus.cpu import cpu_name
from app.gpus.naming import OwnedDevice, parse_devices, visible_devices
from app.gpus.nvml import Gpu, discover, driver_versions, islands, memory_is_free
from app.services.groups import GroupService
from app.services.serving import ServingService
from app.settings import Settings
from workers.gpu_worker.installed import InstalledBackends
from workers.supervision.child_bounds import memory_bytes
from workers.supervision.janitor import kill_strays

CLEAN_BYTES = 512 << 20
"""A GPU with less in use than this counts as free: drivers keep some for themselves."""

DIRTY_SECONDS = 150.0
"""A device that stays in use for so long though no replica holds it is drained, with its reason."""

SETTLE_SECONDS = 2.0
"""Drivers give memory back a moment after a process: 0.13 to 0.16 s on an H200."""

SETTLE_PAUSE_SECONDS = 0.1

BOOTSTRAP = Path(__file__).parents[1] / "engine_child" / "bootstrap.py"

BLOCK = ("CUDA_VISIBLE_DEVICES", "CPU_SLOTS")
"""Variables that say which devices an engine child sees: one that no replica has yet is told of them later."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineCommand:
    """How to start an engine child."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    device: str
    driver: Mapping[str, str]
    """What drives the GPUs, for the provenance of their answers; nothing on CPU slots."""
    memory_bytes: int = 0
    """Its share of the host's memory: that of its block in the group's devices."""

    @property
    def block(self) -> dict[str, str]:
        """Of its environment what says which devices it sees."""
        return {name: self.env[name] for name in BLOCK if name in self.env}

    def starts_like(self, other: EngineCommand) -> bool:
        """Whether the two differ in nothing but their devices."""
        return self.argv == other.argv and self._without_block() == other._without_block()

    def _without_block(self) -> dict[str, str]:
        return {name: value for name, value in self.env.items() if name not in BLOCK}


class GroupDevices:
    """The devices this worker owns, by their ids in the database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.group = settings.worker_group
        self.offered: frozenset[str] = frozenset()
        """The backends that worked at the last look."""
        host = socket.gethostname()
        owned = parse_devices(settings.worker_devices)
        self._owned: dict[str, OwnedDevice] = {device.identity(host, self.group): device for device in owned}
        gpus = [device.gpu for device in owned if device.gpu]
        names = {gpu.name for gpu in gpus} or {cpu_name()}
        self._backends = InstalledBackends(settings, self.kind, names)
        self._sliced = any(gpu.slice is not None for gpu in gpus)
        self._islands = {gpu.uuid: n for n, island in enumerate(islands(gpus)) for gpu in island}

    @property
    def kind(self) -> str:
        """`cuda` or `cpu`."""
        return "cuda" if any(device.gpu for device in self._owned.values()) else "cpu"

    @property
    def slots(self) -> int | None:
        """How many CPU slots there are; None where devices are GPUs."""
        return len(self._owned) if self.kind == "cpu" else None

    def installed(self) -> list[BackendReport]:
        """Backends for these devices that are there on this host, those that do not work included."""
        reports = self._backends.reports()
        self.offered = frozenset(_offered(reports))
        return reports

    def reports(self) -> list[DeviceReport]:
        """The devices as they are now."""
        now = {gpu.uuid: gpu for gpu in discover()} if self.kind == "cuda" else {}
        return [
            self._report(identity, position, device, now.get(device.name))
            for position, (identity, device) in enumerate(self._owned.items())
        ]

    def _report(self, identity: str, position: int, device: OwnedDevice, now: Gpu | None) -> DeviceReport:
        gpu = now or device.gpu
        if gpu is None:
            return DeviceReport(identity, position, "CPU slot")
        return DeviceReport(
            identity,
            position if self._sliced else gpu.index,
            gpu.name,
            gpu.memory_total_bytes,
            gpu.memory_used_bytes,
            gpu.utilization_percent,
            gpu.temperature_celsius,
            gpu.capability,
            self._islands.get(gpu.uuid),
            gpu.numa_node,
            gpu.warnings,
            gpu.broken
            if now
            else "the driver shows it no more: it fell off the bus, or its slices were changed",
        )

    def engine_command(self, replica: Replica) -> EngineCommand:
        """The engine child of a replica, seeing only its block. GpuUnavailableError where NVML does not answer."""
        block = [self._owned[identity] for identity in replica.devices]
        env = self._environment(block, replica.engine.env)
        if self.kind == "cpu":
            env["CPU_SLOTS"] = ",".join(device.name.removeprefix("cpu-") for device in block)
        share = memory_bytes() * len(block) // len(self._owned)
        return EngineCommand(self._argv(replica.engine.backend), env, self.kind, self._driver(), share)

    def spare_command(self, backend: str) -> EngineCommand:
        """An engine child that no replica has yet: it must look for no device, and sees none but this group's."""
        env = self._environment(list(self._owned.values()), {})
        return EngineCommand(self._argv(backend), env, self.kind, {})

    def _argv(self, backend: str) -> tuple[str, ...]:
        return (str(python_of(backend, self._settings.cache_dir)), "-E", "-P", str(BOOTSTRAP))

    def _environment(self, block: Sequence[OwnedDevice], of_job: Mapping[str, str]) -> dict[str, str]:
        env = dict(of_job) | visible_devices(block)
        if self.kind == "cpu":
            env.setdefault("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        return env

    def _driver(self) -> dict[str, str]:
        found = driver_versions() if self.kind == "cuda" else None
        return {"driver": found.driver, "driver_cuda": found.cuda} if found else {}

    def is_clean(self, identity: str) -> bool:
        """Whether the device may be given out: its memory is seen free."""
        device = self._owned.get(identity)
        if device is None or device.gpu is None:
            return device is not None
        return memory_is_free(device.gpu.uuid, CLEAN_BYTES)


def _offered(installed: Sequence[BackendReport]) -> list[str]:
    return [report.name for report in installed if report.problem is None]


class GroupKeeper:
    """Takes the group over, beats for it, and gives dirty devices back once they are clean."""

    def __init__(
        self,
        *,
        groups: GroupService,
        serving: ServingService,
        devices: GroupDevices,
        leaving: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups = groups
        self._serving = serving
        self._devices = devices
        self._leaving = leaving
        self._left = False
        self._clock = clock
        self._dirty_since: dict[str, float] = {}
        self._sweeping = threading.Lock()

        self._token = self._register()

    def _register(self) -> UUID:
        devices = self._devices
        installed = devices.installed()
        return self._groups.register(
            name=devices.group,
            host=socket.gethostname(),
            kind=devices.kind,
            backends=_offered(installed),
            version=version("evalq"),
            reports=devices.reports(),
            installed=installed,
        )

    def settle(self) -> None:
        """After a replica has ended: give its devices back as soon as they are clean; LeaseLostError."""
        over_at = self._clock() + SETTLE_SECONDS
        while self.beat_once() and self._clock() < over_at:
            time.sleep(SETTLE_PAUSE_SECONDS)

    def beat_once(self) -> bool:
        """Report the devices, look at dirty ones; whether one stays so. LeaseLostError if the group is another's."""
        with self._sweeping:
            devices = self._devices
            if (
                self._leaving.is_set() and not self._left
            ):  # before its devices come free, to be given out again
                self._token, self._left = self._groups.leave(devices.group, self._token), True
            installed = devices.installed()
            dirty = self._groups.beat(
                devices.group, self._token, _offered(installed), devices.reports(), installed
            )
            if dirty:
                kill_strays(lambda owner: not self._serving.is_over(owner))
            return sum(not self._look_at(identity) for identity in dirty) > 0

    def _look_at(self, identity: str) -> bool:
        """Whether it is free now."""
        if self._devices.is_clean(identity):
            self._dirty_since.pop(identity, None)
            self._groups.mark_device(identity, self._token, DeviceState.FREE, None)
            return True
        if self._clock() - self._dirty_since.setdefault(identity, self._clock()) >= DIRTY_SECONDS:
            log.error("device %s stays in use though no replica holds it: drained", identity)
            reason = "memory in use though no replica holds it"
            self._groups.mark_device(identity, self._token, DeviceState.DRAINED, reason)
            self._dirty_since[identity] = math.inf  # said once
        return False

    def run(self, stop: threading.Event, interval_seconds: float) -> None:
        """Beat until told to stop, and as soon as it leaves; outages of the database or NVML are waited out."""
        left = False
        while True:
            (stop if left else self._leaving).wait(interval_seconds)
            left = self._leaving.is_set()
            if stop.is_set():
                return
            try:
                self.beat_once()
            except LeaseLostError as error:
                log.warning("%s; this worker goes on serving what it holds", error)
            except DatabaseError as error:
                log.warning("no heartbeat for group %s: %s", self._devices.group, error.details)
            except (GpuUnavailableError, TimeoutError) as error:
                log.warning("no heartbeat for group %s: %s", self._devices.group, error)
            except Exception:  # without this thread the group would be given no work, and nobody told why
                log.exception("no heartbeat for group %s", self._devices.group)
