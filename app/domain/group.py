"""A GPU group for people and planners: what its worker reports, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.domain.replica import DeviceState
from app.domain.tolerance import Tolerance

GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What a worker may call its group."""


@dataclass(frozen=True)
class DeviceReport:
    """One device as its worker sees it now."""

    id: str
    index: int
    name: str
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    capability: str | None = None
    """CUDA's compute capability."""
    island: int | None = None
    """GPUs of one number reach each other over NVLink."""
    numa_node: int | None = None
    warnings: tuple[str, ...] = ()
    """What an operator should look at, in words."""
    broken: str | None = None
    """Why nothing may run on it, in words."""


@dataclass(frozen=True)
class BackendReport:
    """A backend that is installed on a worker's host, and whether its engines can run there."""

    name: str
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the distributions that matter, by name; none for an engine of evalq's own environment."""
    size_bytes: int | None = None
    problem: str | None = None
    """Why it cannot be used, in words; such a backend is not offered."""
    tolerances: tuple[Tolerance, ...] = ()
    """What was measured of fast scoring with it on such devices."""


def unusable(reports: Iterable[BackendReport]) -> dict[str, str]:
    """The backends that cannot be used, each with why."""
    return {report.name: report.problem for report in reports if report.problem is not None}


@dataclass(frozen=True, kw_only=True)
class DeviceView(DeviceReport):
    """One device as it was reported last, and whether it may be given out."""

    state: DeviceState
    reason: str | None
    replica_id: UUID | None
    faulty: bool = False
    """Its hardware failed: only an operator gives it back."""


@dataclass(frozen=True)
class GroupView:
    """The devices of one host that one worker owns."""

    name: str
    host: str
    kind: str
    backends: tuple[str, ...]
    version: str
    worker_started_at: datetime
    heartbeat_at: datetime
    drain_requested_at: datetime | None
    devices: tuple[DeviceView, ...]
    installed: tuple[BackendReport, ...] = ()
    """What is there on its host for its kind of devices, offered or not."""
    drained_by: str | None = None
    drain_reason: str | None = None
    """In the words of who drained it."""

    def alive(self, now: datetime, ttl: timedelta) -> bool:
        """Whether its worker was heard of within the time to live of a lease."""
        return now - self.heartbeat_at < ttl

    @property
    def there(self) -> frozenset[str]:
        """The backends that it has, whether or not they work now."""
        return frozenset((*self.backends, *(report.name for report in self.installed)))


@dataclass(frozen=True)
class Capacity:
    """The groups that count where a job is planned."""

    groups: tuple[GroupView, ...]
    settled: bool
    """Whether any worker shows what there is; else nothing is said to be lacking."""

    @property
    def traits(self) -> frozenset[Any]:
        """What plans are made from: they stay as they are while this does."""
        return frozenset(
            (
                group.name,
                group.backends,
                tuple(unusable(group.installed).items()),
                tuple(
                    (device.id, device.memory_bytes, device.island, device.faulty) for device in group.devices
                ),
            )
            for group in self.groups
        )


def capacity(groups: Sequence[GroupView], now: datetime, patience: timedelta) -> Capacity:
    """The groups whose worker was heard of within the patience.

    Where none was, or all began within it, the cluster is starting: every group that ever was counts, it may come back.
    """
    heard = [group for group in groups if group.alive(now, patience)]
    starting = all(now - group.worker_started_at < patience for group in heard)
    return Capacity(tuple(groups if starting else heard), settled=bool(heard))
