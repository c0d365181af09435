"""What a user could change about a model that does not fit, each tried with the same arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.domain.memory import Fit
from app.domain.model_facts import DEFAULT_MAX_LENGTH, ModelFacts
from app.domain.model_weights import Precision
from app.domain.planning import GroupRoom, Layout, Need, plan
from app.domain.prompt_lengths import says_cut

SHORTEST = 512
"""Tokens: less than this serves no task."""
_STEP = 256
MOST_WAYS = 8


@dataclass(frozen=True)
class Levers:
    """What a backend calls what can be changed; None: it has no such thing."""

    length: str | None = None
    tensor: str | None = None
    pipeline: str | None = None
    cache_dtype: tuple[str, str] | None = None
    """The argument, and what makes the cache half as large."""
    fewer_bits: tuple[tuple[str, Any, str], ...] = ()
    """Arguments that load weights in fewer bits: name, value, and the quantization that it is."""
    batch: str | None = None
    """What the job calls how many requests are asked at once, where memory depends on it."""


NO_LEVERS = Levers()


@dataclass(frozen=True)
class WayOut:
    """One change, and what comes of it."""

    change: Mapping[str, Any]
    fits: bool
    note: str

    def to_json(self) -> dict[str, Any]:
        """As stored and shown."""
        return {"change": dict(self.change), "fits": self.fits, "note": self.note}


def ways_out(
    need: Need,
    facts: ModelFacts | None,
    rooms: Sequence[GroupRoom],
    levers: Levers,
    others: Sequence[GroupRoom] = (),
) -> tuple[WayOut, ...]:
    """Changes that make it fit, the nearest first; `others` are groups that the job did not ask for."""
    if facts is None:
        return ()
    found = (
        *_wider(need, facts, rooms, levers),
        *_smaller_batch(need, facts, rooms, levers),
        *_shorter(need, facts, rooms, levers),
        *_half_the_cache(need, facts, rooms, levers),
        *_fewer_bits(need, facts, rooms, levers),
        *_elsewhere(need, facts, others),
    )
    return found[:MOST_WAYS]


def _asked(need: Need, facts: ModelFacts, rooms: Sequence[GroupRoom]) -> Layout:
    """The layout that did not fit."""
    answer = plan(need, facts, rooms)
    return answer if isinstance(answer, Layout) else answer.layout


def _wider(need: Need, facts: ModelFacts, rooms: Sequence[GroupRoom], levers: Levers) -> Iterator[WayOut]:
    """More devices for one replica, where the job named fewer."""
    now = _asked(need, facts, rooms)
    wider = plan(replace(need, tensor=None, pipeline=None, gpus=None, spread=False), facts, rooms)
    if isinstance(wider, Layout) and wider.fit is Fit.FITS and wider.gpus > now.gpus:
        whole = next(
            (room for room in rooms if room.name == wider.group and len(room.gibs) == wider.gpus), None
        )
        takes = f"; takes all {wider.gpus} devices of group {wider.group}" if whole else ""
        yield WayOut(_widths(need, wider, levers), fits=True, note=_holds(wider) + takes)


def _widths(need: Need, wider: Layout, levers: Levers) -> dict[str, Any]:
    """In the words that the job used."""
    change: dict[str, Any] = {}
    if not need.by_layers and (need.tensor is not None or need.pipeline is not None):
        named = ((levers.tensor, wider.tensor), (levers.pipeline, wider.pipeline))
        change = {f"model_args.{name}": width for name, width in named if name}
    if need.gpus is not None or not change:
        change["gpus_per_replica"] = wider.gpus
    return change


def _shorter(need: Need, facts: ModelFacts, rooms: Sequence[GroupRoom], levers: Levers) -> Iterator[WayOut]:
    """The longest request that fits, where the cache of one is what does not."""
    if levers.length is None:
        return
    now = need.terms.length or facts.max_positions or DEFAULT_MAX_LENGTH
    low, high = SHORTEST // _STEP, (now - 1) // _STEP
    if low > high or not _fits(_with(need, length=low * _STEP), facts, rooms):
        return
    while low < high:
        middle = (low + high + 1) // 2
        fits = _fits(_with(need, length=middle * _STEP), facts, rooms)
        low, high = (middle, high) if fits else (low, middle - 1)
    length = low * _STEP
    layout = _asked(_with(need, length=length), facts, rooms)
    note = f"{_holds(layout)}; {says_cut(need.prompts, length)}"
    yield WayOut({f"model_args.{levers.length}": length}, fits=True, note=note)


def _smaller_batch(
    need: Need, facts: ModelFacts, rooms: Sequence[GroupRoom], levers: Levers
) -> Iterator[WayOut]:
    """Half the requests at once, and half again, until they fit."""
    if levers.batch is None:
        return
    batch = need.terms.batch // 2
    while batch and not _fits(_with(need, batch=batch), facts, rooms):
        batch //= 2
    if batch:
        note = f"{_holds(_asked(_with(need, batch=batch), facts, rooms))}; nothing is cut"
        yield WayOut({levers.batch: batch}, fits=True, note=note)


def _half_the_cache(
    need: Need, facts: ModelFacts, rooms: Sequence[GroupRoom], levers: Levers
) -> Iterator[WayOut]:
    if levers.cache_dtype is None or need.terms.cache_dtype not in (None, "auto"):
        return
    name, value = levers.cache_dtype
    less = _with(need, cache_dtype=value)
    if _fits(less, facts, rooms):
        note = f"{_holds(_asked(less, facts, rooms))}; scores may change slightly"
        yield WayOut({f"model_args.{name}": value}, fits=True, note=note)


def _fewer_bits(
    need: Need, facts: ModelFacts, rooms: Sequence[GroupRoom], levers: Levers
) -> Iterator[WayOut]:
    if facts.quantization or need.terms.precision.quantization:
        return
    for name, value, method in levers.fewer_bits:
        less = _with(need, precision=Precision(need.terms.precision.dtype, method))
        if _fits(less, facts, rooms):
            note = f"{_holds(_asked(less, facts, rooms))}; scores change: it is another model"
            yield WayOut({f"model_args.{name}": value}, fits=True, note=note)


def _elsewhere(need: Need, facts: ModelFacts, others: Sequence[GroupRoom]) -> Iterator[WayOut]:
    for room in others:
        answer = plan(need, facts, [room])
        if isinstance(answer, Layout) and answer.fit is Fit.FITS:
            yield WayOut({"group": room.name}, fits=True, note=_holds(answer))


def _with(need: Need, **terms: Any) -> Need:
    return replace(need, terms=replace(need.terms, **terms))


def _fits(need: Need, facts: ModelFacts, rooms: Sequence[GroupRoom]) -> bool:
    return _asked(need, facts, rooms).fit is Fit.FITS


def _holds(layout: Layout) -> str:
    """What lies on each device."""
    memory = layout.memory
    if memory is None:
        return "how much it takes is not known"
    cache = f" and {memory.cache:.1f} of cache" if memory.cache else ""
    gpus = f"{layout.gpus} device{'s' * (layout.gpus > 1)}"
    return f"{memory.weights:.1f} GiB of weights{cache} on each of {gpus} of {layout.device_gib or 0:.1f} GiB"
