"""Hosts with their groups and devices, as operators look at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from zlib import crc32

from app.dashboard.views.devices import (
    DeviceLine,
    counted,
    device_line,
    drained_words,
    kind_of_devices,
    loaded_words,
    memory_of,
)
from app.domain.group import GroupView, unusable
from app.domain.replica import Replica
from app.services.groups import GroupState


@dataclass(frozen=True)
class DeviceRowShown:
    """A device, and what is loaded on it as far as the reader may know."""

    line: DeviceLine
    loaded: str
    detail: str


@dataclass(frozen=True)
class GroupShown:
    """A group."""

    name: str
    what: str
    words: str
    memory: str
    alive: bool
    heartbeat_at: datetime
    draining: str | None
    devices: Sequence[DeviceRowShown]


@dataclass(frozen=True)
class HostShown:
    """A host; each of its groups has a worker of its own."""

    name: str
    alive: bool
    heartbeat_at: datetime
    started_at: datetime
    versions: str
    unusable: Sequence[tuple[str, str]]
    groups: Sequence[GroupShown]

    @property
    def key(self) -> str:
        """Names it in ids, which hold no dots."""
        return self.name.encode().hex()


@dataclass(frozen=True)
class WorkersScreen:
    """All of them."""

    hosts: Sequence[HostShown]
    groups: int
    devices: int
    words: str

    @property
    def roster(self) -> int:
        """Another number where other hosts or groups are shown."""
        names = [[host.name, *(group.name for group in host.groups)] for host in self.hosts]
        return crc32(repr(names).encode())


def workers_screen(
    states: Sequence[GroupState], alive: Callable[[GroupView], bool], now: datetime
) -> WorkersScreen:
    """By host and name."""
    ordered = sorted(states, key=lambda state: (state.group.host, state.group.name))
    by_host = groupby(ordered, key=lambda state: state.group.host)
    live = {replica.id: replica for state in states for replica in state.replicas}
    groups = [state.group for state in states]
    return WorkersScreen(
        hosts=[_host(name, list(found), alive, now) for name, found in by_host],
        groups=len(groups),
        devices=sum(len(group.devices) for group in groups),
        words=counted(groups, live),
    )


def _host(
    name: str, states: Sequence[GroupState], alive: Callable[[GroupView], bool], now: datetime
) -> HostShown:
    groups = [state.group for state in states]
    return HostShown(
        name=name,
        alive=any(alive(group) for group in groups),
        heartbeat_at=max(group.heartbeat_at for group in groups),
        started_at=min(group.worker_started_at for group in groups),
        versions=", ".join(dict.fromkeys(each for group in groups for each in versions(group))),
        unusable=sorted({each for group in groups for each in unusable(group.installed).items()}),
        groups=[_group(state, alive(state.group), now) for state in states],
    )


def versions(group: GroupView) -> list[str]:
    """That of evalq, and of each backend that is installed the version of what it is named after."""
    told = [f"evalq {group.version}"]
    reported = {report.name for report in group.installed}
    for report in group.installed:
        numbers = ", ".join(f"{name} {number}" for name, number in report.versions.items())
        told.append(f"{report.name} ({numbers})" if numbers else report.name)
    return told + [name for name in group.backends if name not in reported]


def _group(state: GroupState, alive: bool, now: datetime) -> GroupShown:
    group, live = state.group, {replica.id: replica for replica in state.replicas}
    return GroupShown(
        name=group.name,
        what=kind_of_devices(group),
        words=counted([group], live),
        memory=memory_of(group),
        alive=alive,
        heartbeat_at=group.heartbeat_at,
        draining=drained_words(group, now),
        devices=[_device(device_line(device, live), state) for device in group.devices],
    )


def _device(line: DeviceLine, state: GroupState) -> DeviceRowShown:
    if line.replica is None:
        return DeviceRowShown(line, "nothing", line.reason or "")
    known = line.replica.engine.key in state.known_engines
    loaded = line.replica.engine.model if known else "an engine of another team"
    return DeviceRowShown(line, loaded, _detail(line.replica, line.id, state) if known else "")


def _detail(replica: Replica, device_id: str, state: GroupState) -> str:
    words = (
        loaded_words(replica, replica.devices.index(device_id)),
        state.reason(replica),
        "asked to end" if replica.release_requested_at else None,
    )
    return "; ".join(filter(None, words))
