"""How a model is spread over devices, and what to change where it does not fit: decided before anything runs.

The guides' tree, made right: one device where it fits, and then replicas; else the fewest devices that hold it: shares
of every matrix inside one island of fast links, then stages of layers beyond it. What a user asks for is always kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from app.domain.heads import can_share_out
from app.domain.measured_memory import as_measured, measured_at
from app.domain.measures import Measured, Placed
from app.domain.memory import Fit, Memory, MemoryTerms, memory_of
from app.domain.model_facts import ModelFacts
from app.domain.prompt_lengths import PromptLengths

WIDTHS = tuple(2**power for power in range(11))
"""Devices of a replica that are tried: blocks of these sizes are aligned on any host."""
MOST_HOSTS = 16


@dataclass(frozen=True)
class GroupRoom:
    """What one group has for a replica."""

    name: str
    gibs: tuple[float | None, ...]
    """Memory of each device; None where a device reports none."""
    island: int | None = None
    """Devices that fast links join, of the most that do; None: all of them."""
    kind: str = ""
    """The name of its devices."""

    def device_gib(self, count: int) -> float | None:
        """The least memory that a device has among this many of the largest; None where it is not known."""
        known = sorted((gib for gib in self.gibs if gib is not None), reverse=True)
        return known[count - 1] if len(self.gibs) >= count and len(known) >= count else None

    def holding(self, gib: float) -> int:
        """Devices of at least this size, or of a size that is not known."""
        return sum(size is None or size >= gib for size in self.gibs)


@dataclass(frozen=True)
class Need:
    """What a job asks for, as far as devices go; None is not said."""

    terms: MemoryTerms
    tensor: int | None = None
    pipeline: int | None = None
    gpus: int | None = None
    replicas: int | None = None
    by_layers: bool = False
    """Whether the engine spreads a model as whole layers over any number of devices, as transformers does."""
    spread: bool = False
    """Whether the user says that the model is to be spread, not over how many devices."""
    stages: bool = False
    """Whether the engine has stages of layers beside shares of matrices."""
    measured: tuple[Measured, ...] = ()
    """What such an engine measured before."""
    prompts: PromptLengths | None = None
    """The job's own, once they are built."""


@dataclass(frozen=True)
class Layout:
    """How one replica is spread, and how well it fits where there is most room."""

    tensor: int = 1
    pipeline: int = 1
    gpus: int = 1
    memory: Memory | None = None
    fit: Fit | None = None
    """None where the model or the devices are not known well enough."""
    device_gib: float | None = None
    """Of the devices that it was judged against."""
    group: str | None = None
    """Where they are."""
    at_once: int | None = None
    """Replicas that all groups together can hold; None where no group is known."""
    lines: tuple[str, ...] = ()
    """Why it is so, in words."""
    measured: Measured | None = None
    """What such an engine measured on such devices, spread so."""


@dataclass(frozen=True)
class Refusal:
    """Why a model cannot be held: `layout` is what was asked for, or the widest that was tried."""

    layout: Layout
    says: str


def plan(need: Need, facts: ModelFacts | None, rooms: Sequence[GroupRoom]) -> Layout | Refusal:
    """The narrowest layout that fits, or the one asked for; Refusal where it holds in no room."""
    layouts = [judged(need, facts, rooms, shares) for shares in _tried(need, facts, rooms)]
    fitting = [layout for layout in layouts if layout.fit is Fit.FITS]
    tight = [layout for layout in layouts if layout.fit is Fit.TIGHT]
    unjudged = [] if any(layout.fit for layout in layouts) else layouts
    found = next(chain(fitting, tight, unjudged), None)
    if found is None:
        widest = [layout for layout in layouts if layout.fit][-1]
        return Refusal(widest, _too_large(widest) + _over_hosts(need, facts, widest))
    first = layouts[0]
    if found is not first and first.memory and first.device_gib:
        less = f"{first.gpus} device{'s' * (first.gpus > 1)} of {first.device_gib:.1f} GiB"
        why = f"{found.gpus} devices for one replica: it needs {first.memory.gib:.2f} GiB on each of {less}"
        found = replace(found, lines=(*found.lines, why))
    return found


def judged(
    need: Need, facts: ModelFacts | None, rooms: Sequence[GroupRoom], shares: tuple[int, int, int]
) -> Layout:
    """One way to spread the model, against the group that has most room for it."""
    tensor, pipeline, gpus = shares
    over = (1, gpus) if need.by_layers else (tensor, pipeline)
    memory = memory_of(facts, need.terms, *over) if facts else None
    able = [room for room in rooms if len(room.gibs) >= gpus]
    room = max(able, key=lambda room: room.device_gib(gpus) or 0, default=None)
    device = room.device_gib(gpus) if room else None
    placed = Placed(room.kind if room else "", tensor, pipeline, gpus)
    measured = measured_at(need.measured, placed, device, memory)
    if memory and measured:
        memory = as_measured(memory, measured, need.terms)
    fit = memory.fit(device) if memory and device is not None else None
    least = memory.card_gib if memory and fit in (Fit.FITS, Fit.TIGHT) else 0
    at_once = sum(room.holding(least) // gpus for room in rooms) if rooms else None
    lines = memory.lines if memory else ()
    group = room.name if room else None
    return Layout(tensor, pipeline, gpus, memory, fit, device, group, at_once, lines, measured)


def _tried(need: Need, facts: ModelFacts | None, rooms: Sequence[GroupRoom]) -> list[tuple[int, int, int]]:
    """Tensor, pipeline, devices; the narrowest first."""
    least = (need.tensor or 1) * (need.pipeline or 1)
    if need.gpus is not None or need.tensor is not None or need.pipeline is not None:
        return [_as_asked(need, facts, need.gpus or least, least, _island(rooms))]
    most = max((len(room.gibs) for room in rooms), default=1) or 1
    if not need.spread or (facts and memory_of(facts, need.terms) and _sizes_known(rooms)):
        return list(_widths(need, facts, rooms, most))
    copies = min(need.replicas or 1, sum(len(room.gibs) for room in rooms) or 1)
    share = max(1, min(most, sum(len(room.gibs) for room in rooms) // copies))
    return [_as_asked(need, facts, share, 1, _island(rooms))]


def _island(rooms: Sequence[GroupRoom]) -> int:
    """Devices that shares of one model may lie on unasked."""
    return max((min(room.island or len(room.gibs), len(room.gibs)) for room in rooms), default=WIDTHS[-1])


def _as_asked(
    need: Need, facts: ModelFacts | None, gpus: int, least: int, island: int
) -> tuple[int, int, int]:
    """So many devices, with what was said of their use; what is left open goes to shares, then to stages."""
    tensor, pipeline = need.tensor or 1, need.pipeline or 1
    if need.by_layers or gpus % least or (need.tensor and need.pipeline):
        return (tensor, pipeline, gpus)
    if need.tensor is not None:
        return (tensor, gpus // tensor if need.stages else 1, gpus)
    if need.pipeline is not None or not need.stages:
        return (gpus // pipeline, pipeline, gpus)
    shares = max(
        width
        for width in WIDTHS
        if gpus % width == 0 and width <= max(island, 1) and (not facts or can_share_out(facts, width))
    )
    return (shares, gpus // shares, gpus)


def _sizes_known(rooms: Sequence[GroupRoom]) -> bool:
    return any(room.device_gib(1) is not None for room in rooms)


def _widths(
    need: Need, facts: ModelFacts | None, rooms: Sequence[GroupRoom], most: int
) -> Iterator[tuple[int, int, int]]:
    """What is free to choose: doubled devices; by shares inside an island, and by stages beyond it."""
    if not _sizes_known(rooms):
        yield (1, 1, 1)
        return
    island = _island(rooms)
    shareable = [width for width in WIDTHS if width <= island and (not facts or can_share_out(facts, width))]
    for gpus in [width for width in WIDTHS if width <= most] + [most] * (
        need.by_layers and most not in WIDTHS
    ):
        if need.by_layers:
            yield (1, 1, gpus)
        elif need.stages or gpus in shareable:
            shares = max(width for width in shareable if gpus % width == 0)
            yield (shares, gpus // shares, gpus)


def _too_large(layout: Layout) -> str:
    """The arithmetic of the widest that was tried."""
    arithmetic = "; ".join(layout.lines)
    needed = layout.memory.gib if layout.memory else 0
    devices = f"{layout.gpus} device{'s' * (layout.gpus > 1)}"
    most = f"the largest device has {layout.device_gib or 0:.1f} GiB"
    return f"the model does not fit: {arithmetic}; at least {needed:.2f} GiB on each of {devices}; {most}"


def _over_hosts(need: Need, facts: ModelFacts | None, widest: Layout) -> str:
    """On how many hosts like the largest it would fit, where the engine has stages: none of evalq's runs so yet."""
    if not need.stages or (need.gpus, need.tensor, need.pipeline) != (None, None, None):
        return ""
    for hosts in range(2, MOST_HOSTS + 1):
        over = (widest.tensor, widest.pipeline * hosts)
        memory = memory_of(facts, need.terms, *over) if facts else None
        if memory and memory.fit(widest.device_gib or 0) is Fit.FITS:
            spread = f"{hosts} hosts of {widest.gpus} devices (TP {over[0]} x PP {over[1]})"
            return f"; it would fit on {spread}, but evalq runs no engine over several hosts yet"
    return ""
