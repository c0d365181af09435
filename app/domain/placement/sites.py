"""The groups that take work, and which of their devices may still be given out in this turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from app.domain.blocks import bits, block, shape_of
from app.domain.placement.values import Group
from app.domain.placement.wishes import Wish
from app.domain.replica import Device, DeviceState


@dataclass(eq=False)
class Site:
    """A group that takes work; its devices are bits of masks."""

    group: Group
    devices: tuple[Device, ...]
    free: int
    """May be given out now."""
    soon: int
    """Nobody's in a moment, and not promised: what replicas leave that were asked to."""
    usable: int
    """All that are not drained."""
    idle: int = 0
    """Held by replicas that nobody wants."""
    promised: int = 0
    """Given out, or kept for somebody."""

    def __post_init__(self) -> None:
        self.shape = shape_of(self.devices)
        self.name = self.group.name
        self._bit = {device.id: 1 << place for place, device in enumerate(self.devices)}
        self._sizes: dict[int, int] = {}

    def mask(self, names: Iterable[str]) -> int:
        """The bits of those that are here."""
        found = 0
        for name in names:
            found |= self._bit.get(name, 0)
        return found

    def fit(self, wish: Wish) -> int:
        """Devices that the demand may have one day; none where it cannot be served here."""
        demand = wish.demand
        if demand.group not in (None, self.name) or demand.engine.backend not in self.group.backends:
            return 0
        fit = self._large(wish.least) if wish.least else self.usable
        if demand.shunned:
            fit &= ~self.mask(demand.shunned)
        return fit if fit.bit_count() >= wish.need else 0

    def _large(self, least: int) -> int:
        if least not in self._sizes:
            large = sum(
                1 << place
                for place, device in enumerate(self.devices)
                if not device.memory_bytes or device.memory_bytes >= least
            )
            self._sizes[least] = large & self.usable
        return self._sizes[least]

    def block(self, among: int, count: int) -> int:
        """A block of these devices, or none."""
        return block(self.shape, among, count) if among.bit_count() >= count else 0

    def names(self, mask: int) -> tuple[str, ...]:
        """The devices of a mask, by index."""
        return tuple(self.devices[place].id for place in bits(mask))

    def forgo(self, mask: int) -> None:
        """Nobody else gets these in this turn."""
        self.promised |= mask
        self.free &= ~mask
        self.soon &= ~mask
        self.idle &= ~mask


def opened(groups: Sequence[Group]) -> list[Site]:
    """The groups that take work, by name."""
    return [
        _opened(each) for each in sorted(groups, key=lambda g: g.name) if each.alive and not each.draining
    ]


def _opened(group: Group) -> Site:
    devices = tuple(sorted(group.devices, key=lambda device: (device.index, device.id)))
    masks = dict.fromkeys(DeviceState, 0)
    for place, device in enumerate(devices):
        masks[device.state] |= 1 << place
    every = (1 << len(devices)) - 1
    return Site(
        group, devices, masks[DeviceState.FREE], masks[DeviceState.DIRTY], every & ~masks[DeviceState.DRAINED]
    )


@dataclass
class Shelves:
    """Sites by how many devices they have free: the fullest that still does comes first."""

    sites: Sequence[Site]
    _by_count: dict[int, dict[Site, None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for site in self.sites:
            self._put(site)

    def _put(self, site: Site) -> None:
        if count := site.free.bit_count():
            self._by_count.setdefault(count, {})[site] = None

    def least(self, count: int) -> Iterator[Site]:
        """Those with so many free ones or more."""
        for number in sorted(self._by_count):
            if number >= count:
                yield from tuple(self._by_count[number])

    def take(self, site: Site, mask: int) -> None:
        """These devices are free no more."""
        self._by_count.get(site.free.bit_count(), {}).pop(site, None)
        site.forgo(mask)
        self._put(site)
