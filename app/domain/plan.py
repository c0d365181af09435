"""A plan: how a job will be run, and why, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from app.domain.engine_spec import Scoring
from app.domain.measures import Measured
from app.domain.memory import GIB, Memory
from app.domain.ways_out import WayOut

ROUNDED = 0.01
"""GiB."""

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class PlannedMemory:
    """What one GPU of a replica is reckoned to need, by the guides' rule of thumb and by arithmetic."""

    rule_gb: float
    weights_gib: float
    activations_gib: float
    runtime_gib: float
    cache_gib: float
    cache_kib_per_token: float | None
    card_gib: float
    """The smallest device that it fits."""
    source: str | None
    """Where the model's size is from."""

    @classmethod
    def of(cls, memory: Memory, source: str | None) -> PlannedMemory:
        """To two places, as people read it."""
        token = memory.cache_kib_per_token
        return cls(
            rule_gb=round(memory.rule_gb, 2),
            weights_gib=round(memory.weights, 2),
            activations_gib=round(memory.activations, 2),
            runtime_gib=round(memory.runtime, 2),
            cache_gib=round(memory.cache, 2),
            cache_kib_per_token=None if token is None else round(token, 2),
            card_gib=round(memory.card_gib, 2),
            source=source,
        )


@dataclass(frozen=True)
class PlannedMeasures:
    """What engines of the same kind measured when they were loaded so; null is not known."""

    device_kind: str
    loads: int
    load_seconds: float | None
    weights_gib: float | None
    peak_gib: float | None
    cache_tokens: int | None
    requests_per_second: float | None
    tokens_per_second: float | None

    @classmethod
    def of(cls, measured: Measured) -> PlannedMeasures:
        """To what people read of them."""
        load = measured.load
        return cls(
            device_kind=measured.placed.kind,
            loads=measured.loads,
            load_seconds=_rounded(load.seconds, 1),
            weights_gib=_rounded(load.weights_bytes, 2, GIB),
            peak_gib=_rounded(load.peak_bytes, 2, GIB),
            cache_tokens=int(load.cache_tokens) if load.cache_tokens else None,
            requests_per_second=_rounded(measured.requests_per_second, 3),
            tokens_per_second=_rounded(measured.tokens_per_second, 1),
        )


def _rounded(value: float | None, places: int, unit: float = 1.0) -> float | None:
    return None if value is None else round(value / unit, places)


@dataclass(frozen=True)
class Plan:
    """The planner's answer for a job, shown to the user before anything runs."""

    backend: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpus_per_replica: int
    replicas: int | None
    """Replicas asked for; None lets the scheduler choose."""
    group: str | None
    memory_per_gpu_gib: float | None
    explanation: tuple[str, ...]
    command: str
    """The equivalent lm_eval command line."""
    memory: PlannedMemory | None = None
    fit: str | None = None
    """fits, tight or no; None where the model or the devices are not known."""
    ways_out: tuple[WayOut, ...] = ()
    """What to change where it does not fit well."""
    measured: PlannedMeasures | None = None
    """What it rests on, where such an engine was loaded so before."""
    scoring_mode: Scoring | None = None
    """None where it was planned before there was a choice: stock."""

    def to_json(self) -> dict[str, Any]:
        """As stored and shown; `replicas` is "auto" where the scheduler chooses."""
        told = {"explanation": list(self.explanation), "replicas": self.replicas or "auto"}
        return asdict(self) | told | {"ways_out": [way.to_json() for way in self.ways_out]}

    def telling(self, line: str) -> Plan:
        """With one more line of explanation, once."""
        known = line in self.explanation
        return self if known else replace(self, explanation=(*self.explanation, line))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_json`; rows of earlier versions say less, and those of later ones more."""
        memory, ways, measured = data.get("memory"), data.get("ways_out") or (), data.get("measured")
        mode = data.get("scoring_mode")
        told = {
            "explanation": tuple(data["explanation"]),
            "replicas": None if data["replicas"] == "auto" else data["replicas"],
            "memory": _known(PlannedMemory, memory) if memory and memory["card_gib"] else None,
            "ways_out": tuple(_known(WayOut, way) for way in ways),
            "measured": _known(PlannedMeasures, measured) if measured else None,
            "scoring_mode": Scoring(mode) if mode else None,
        }
        return _known(cls, {**data, **told})


def _known(kind: type[Kind], data: Mapping[str, Any]) -> Kind:
    """What this version knows of it: a later one may have said more."""
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in data.items() if name in names})


def least_bytes(plan: Plan) -> int | None:
    """Memory that each device of a replica must have; None where that is not known.

    Sizes are rounded where plans are stored: the smallest device that fits still does.
    """
    return max(0, int((plan.memory.card_gib - ROUNDED) * GIB)) if plan.memory else None
