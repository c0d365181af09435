"""Which of the free devices of a group one replica gets; devices are bits of a mask, in the order of their index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from app.domain.replica import Device

Shape = tuple[tuple[int, int | None], ...]
"""Index and island of each device of a group."""


def shape_of(devices: Sequence[Device]) -> Shape:
    """What decides which devices are near to each other."""
    return tuple((device.index, device.island) for device in devices)


def bits(mask: int) -> Iterator[int]:
    """Places in the mask, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@lru_cache(maxsize=2**15)
def block(shape: Shape, free: int, count: int) -> int:
    """So many of the free devices, or none: of one island where there are so many, else any.

    An aligned run, else any run, else the first ones; of several the one that leaves the largest runs whole.
    """
    pools = sorted(_islands(shape, free), key=int.bit_count) if count > 1 else []
    able = [pool for pool in pools if pool.bit_count() >= count] or [free]
    at = {shape[place][0]: place for place in bits(free)}
    runs = [
        (start % count != 0, _whole(at, start, count), start, run)
        for pool in able
        for start, run in _runs(shape, pool, count)
    ]
    return min(runs)[3] if runs else _first(able[0], count)


def _islands(shape: Shape, free: int) -> list[int]:
    """Devices that reach each other over fast links; those that tell none are no island."""
    found: dict[int, int] = {}
    for place in bits(free):
        island = shape[place][1]
        if island is not None:
            found[island] = found.get(island, 0) | 1 << place
    return list(found.values())


def _runs(shape: Shape, pool: int, count: int) -> Iterator[tuple[int, int]]:
    """So many neighbours by index: they share the fastest links."""
    at = {shape[place][0]: place for place in bits(pool)}
    for start in at:
        places = [at[index] for index in range(start, start + count) if index in at]
        if len(places) == count:
            yield start, sum(1 << place for place in places)


def _whole(free: dict[int, int], start: int, count: int) -> int:
    """How many neighbours that are all free, aligned at a power of two, would be broken up by this run."""
    size = count
    wider = 1 << (count - 1).bit_length()
    while wider <= len(free) and all(
        index in free for index in range(start // wider * wider, start // wider * wider + wider)
    ):
        size, wider = wider, 2 * wider
    return size


def _first(pool: int, count: int) -> int:
    places = list(bits(pool))[:count]
    return sum(1 << place for place in places) if len(places) == count else 0
