"""Devices and engines in words, numbers and parts of a hundred."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.dashboard.words import BY
from app.domain.engine_spec import EngineSpec
from app.domain.group import DeviceView, GroupView
from app.domain.memory import GIB
from app.domain.replica import DeviceState, Replica, ReplicaStatus

HELD_GIB = 1.0
"""A device that no replica holds and of which so much is in use is held by somebody else."""
HOT = 5.0
"""Percent of utilization from which a device works."""

Live = Mapping[UUID, Replica]

STATES = {
    "busy": ("running", "Serving"),
    "loading": ("loading", "Loading"),
    "warm": ("paused", "Warm"),
    "free": ("succeeded", "Free"),
    "held by another program": ("warning", "Idle, memory held"),
    "cleaning up": ("queued", "Cleaning up"),
    "out of service": ("failed", "Out of service"),
}
"""What a device does: icon and word, in the order in which a group counts them."""


@dataclass(frozen=True)
class DeviceLine:
    """One device as a row."""

    id: str
    index: int
    does: str
    icon: str
    word: str
    reason: str | None
    utilization: float | None
    used_gib: float | None
    used_percent: float
    hot: bool
    held: bool
    temperature: float | None
    warnings: Sequence[str]
    replica: Replica | None

    @property
    def out(self) -> bool:
        """Nothing may run on it."""
        return self.does == "out of service"


def device_line(device: DeviceView, live: Live) -> DeviceLine:
    """What a device does, and how it stands."""
    replica = live.get(device.replica_id) if device.replica_id else None
    does = what_it_does(device, replica)
    used = None if device.memory_used_bytes is None else device.memory_used_bytes / GIB
    share = 100 * (device.memory_used_bytes or 0) / device.memory_bytes if device.memory_bytes else 0.0
    return DeviceLine(
        device.id,
        device.index,
        does,
        *STATES[does],
        reason=device.reason,
        utilization=device.utilization_percent,
        used_gib=used,
        used_percent=round(min(share, 100.0), 1),
        hot=(device.utilization_percent or 0.0) > HOT,
        held=does == "held by another program",
        temperature=device.temperature_celsius,
        warnings=device.warnings,
        replica=replica,
    )


def what_it_does(device: DeviceView, replica: Replica | None) -> str:
    """One of STATES."""
    if replica is not None:
        if replica.status is not ReplicaStatus.SERVING:
            return "loading"
        return "warm" if replica.idle_since else "busy"
    held = (device.memory_used_bytes or 0) > HELD_GIB * GIB
    if device.faulty:
        return "out of service"
    if held and device.state is not DeviceState.DIRTY:
        return "held by another program"
    if device.state is DeviceState.DRAINED:
        return "out of service"
    return {DeviceState.FREE: "free", DeviceState.DIRTY: "cleaning up"}.get(device.state, "busy")


def counted(groups: Sequence[GroupView], live: Live) -> str:
    """What the devices of groups do: `9 busy, 1 warm`."""
    does = Counter(
        what_it_does(device, live.get(device.replica_id) if device.replica_id else None)
        for group in groups
        for device in group.devices
    )
    if set(does) == {"free"}:
        return "all free"
    return ", ".join(f"{does[name]} {name}" for name in STATES if does[name]) or "no devices"


def kind_of_devices(group: GroupView) -> str:
    """How many of which kind, or of several kinds."""
    kinds = Counter(device.name for device in group.devices)
    return ", ".join(f"{count} {BY} {name}" for name, count in kinds.items()) or "no devices"


def memory_of(group: GroupView) -> str:
    """GiB of each device; nothing where they differ or have none."""
    sizes = {f"{device.memory_bytes / GIB:.0f}" for device in group.devices if device.memory_bytes}
    return sizes.pop() if len(sizes) == 1 else ""


def drained_words(group: GroupView, now: datetime) -> str | None:
    """Since when, by whom and why; None where it is not drained."""
    if group.drain_requested_at is None:
        return None
    at = group.drain_requested_at.astimezone(UTC)
    since = f"{at:%H:%M}" if now - at < timedelta(hours=12) else f"{at:%Y-%m-%d %H:%M}"
    by = f" by {group.drained_by}" if group.drained_by else ""
    why = f": {group.drain_reason}" if group.drain_reason else ""
    return f"since {since}{by}{why}"


def engine_words(engine: EngineSpec) -> str:
    """`vllm TP 4`, `hf`."""
    parts = [engine.backend]
    parts += [f"TP {engine.tensor_parallel_size}"] if engine.tensor_parallel_size > 1 else []
    parts += [f"PP {engine.pipeline_parallel_size}"] if engine.pipeline_parallel_size > 1 else []
    if len(parts) == 1 and engine.gpus > 1:
        parts.append(f"on {engine.gpus} GPUs")
    return " ".join(parts)


def loaded_words(replica: Replica, number: int) -> str:
    """How it is loaded, and which of its block's devices this one is."""
    rank = f", rank {number}" if len(replica.devices) > 1 else ""
    return f"{engine_words(replica.engine)}{rank}"
