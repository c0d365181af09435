"""Which of the free devices of a group one replica gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from app.domain.replica import Device


def block(free: list[Device], count: int) -> tuple[Device, ...] | None:
    """Devices of one island where there are so many, else any: an aligned run, else any run, else the first ones."""
    pools = sorted(_islands(free), key=len) if count > 1 else []
    able = [pool for pool in pools if len(pool) >= count] or [free]
    runs = list(chain.from_iterable(_runs(pool, count) for pool in able))
    if runs:
        return min(runs, key=lambda run: (run[0].index % count != 0, run[0].index))
    return tuple(able[0][:count]) if len(able[0]) >= count else None


def _islands(devices: Sequence[Device]) -> list[list[Device]]:
    """Devices that reach each other over fast links; those that tell none are no island."""
    found: dict[int, list[Device]] = {}
    for device in devices:
        if device.island is not None:
            found.setdefault(device.island, []).append(device)
    return list(found.values())


def _runs(devices: Sequence[Device], count: int) -> Iterator[tuple[Device, ...]]:
    """So many neighbours by index: they share the fastest links."""
    by_index = {device.index: device for device in devices}
    for start in by_index:
        run = [by_index[index] for index in range(start, start + count) if index in by_index]
        if len(run) == count:
            yield tuple(run)
