"""Memory as engines of the same kind measured it, in place of what was reckoned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.domain.measures import Measured, Placed
from app.domain.memory import GIB, Memory, MemoryTerms
from app.domain.model_facts import ModelFacts

LEAST_SHARE = 0.1
"""Of what was reckoned: less than this was measured of no whole model."""


def measured_at(
    found: Sequence[Measured], placed: Placed, device_gib: float | None, reckoned: Memory | None
) -> Measured | None:
    """What was measured in this place; None for more than such a device holds, or next to nothing."""
    measured = next((each for each in found if each.placed == placed), None)
    if measured is None or measured.load.weights_bytes is None:
        return measured
    takes = measured.load.weights_bytes / GIB
    too_much = device_gib is not None and takes > device_gib
    too_little = reckoned is not None and takes < LEAST_SHARE * reckoned.weights
    return None if too_much or too_little else measured


def as_measured(memory: Memory, measured: Measured, terms: MemoryTerms) -> Memory:
    """The weights, and what an engine that serves needs beside its cache; the cache stays as reckoned."""
    load, lines = measured.load, (*memory.lines, in_words(measured))
    if load.weights_bytes is None:
        return replace(memory, lines=lines)
    weights = load.weights_bytes / GIB
    if not terms.serves or load.other_bytes is None or terms.static is not None:
        return replace(memory, weights=weights, lines=lines)
    other = load.other_bytes / GIB
    return replace(
        memory, weights=weights, activations=other, runtime=0.0, utilization=terms.utilization, lines=lines
    )


def weighed(found: Sequence[Measured]) -> ModelFacts | None:
    """A model of which nothing else is known than what it took when it was loaded."""
    takes = ((each, each.load.weights_bytes) for each in found)
    whole = next((int(weights * each.placed.gpus) for each, weights in takes if weights), None)
    return ModelFacts(weight_bytes=whole, source="what engines of it measured") if whole else None


def in_words(measured: Measured) -> str:
    """What was measured, where and how often: this counts, and not the arithmetic."""
    load = measured.load
    sizes = (
        (load.weights_bytes, "of weights"),
        (load.other_bytes, "beside them"),
        (load.peak_bytes, "at most"),
    )
    told = [f"{size / GIB:.2f} GiB {what}" for size, what in sizes if size is not None]
    told += [f"cache of {load.cache_tokens:,.0f} tokens"] if load.cache_tokens else []
    loads = f"{measured.loads} load{'s' * (measured.loads > 1)}"
    return f"measured on {measured.placed.kind}, {loads}: {', '.join(told) or 'nothing'}"
