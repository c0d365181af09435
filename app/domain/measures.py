"""What loaded engines measured: kept for each load, by engine and kind of device, and reckoned with next time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median

GIB = 2**30
MOST = float(2**53)
"""Of anything that is measured: what says more lies."""

RISE = 1.01
"""A peak that is less above the last one is not written again."""


@dataclass(frozen=True)
class LoadMeasure:
    """What one load of an engine measured of itself, of the device that holds most; None is not known."""

    weights_bytes: float | None = None
    other_bytes: float | None = None
    """Activations and the runtime, of an engine that reserves the rest for its cache."""
    cache_tokens: float | None = None
    """Of the whole engine."""
    peak_bytes: float | None = None
    seconds: float | None = None
    """Spent on loading."""

    @classmethod
    def told(cls, said: Mapping[str, object]) -> LoadMeasure:
        """As an engine child says it, or a row has it: what cannot be, and what is not known here, is left out."""
        return cls(**{item.name: plausible(said.get(item.name)) for item in fields(cls)})

    @property
    def known(self) -> dict[str, float]:
        """What it says, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Peak:
    """The most that was told so far; little more than that is not news."""

    def __init__(self) -> None:
        self._most = 0.0

    def told(self, value: object) -> float | None:
        """The new peak, or None where it is none."""
        said = plausible(value)
        if said is None or said < self._most * RISE:
            return None
        self._most = said
        return said


@dataclass(frozen=True)
class Placed:
    """On what an engine was loaded."""

    kind: str
    """The name of its devices."""
    tensor: int = 1
    pipeline: int = 1
    gpus: int = 1


@dataclass(frozen=True)
class Measured:
    """What several loads of one engine on one kind of device measured, in the middle."""

    placed: Placed
    loads: int
    load: LoadMeasure
    requests_per_second: float | None = None
    tokens_per_second: float | None = None


Recall = Callable[[str], Sequence[Measured]]
"""What was measured of the engine of this name, wherever it was loaded."""


def nothing_measured(_: str) -> Sequence[Measured]:
    """Where nobody remembers."""
    return ()


def plausible(value: object) -> float | None:
    """A measure, or None for what none can be: no number, not above zero, not finite, beyond all machines."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MOST:
        return None
    return float(value)


def in_the_middle(loads: Iterable[LoadMeasure]) -> LoadMeasure:
    """The median of each measure, over the loads that have it."""
    said = [load.known for load in loads]
    names = {name for known in said for name in known}
    return LoadMeasure(**{name: median(known[name] for known in said if name in known) for name in names})


def speed(done: float, seconds: float) -> float | None:
    """So much a second; None where nothing was done, or in no time."""
    known = plausible(done), plausible(seconds)
    return plausible(known[0] / known[1]) if known[0] and known[1] else None


def kind_of(names: Iterable[str]) -> str:
    """What devices of these names are together: those of several kinds are measured apart."""
    return " + ".join(sorted(set(names)))
