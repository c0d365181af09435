"""Remedies that several backends have: which of them, and in which order, each says for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.remedy import Circumstances, Remedies, Remedy

LEAST_UTILIZATION = 0.5
DEFAULT_UTILIZATION = 0.92
"""Of vLLM since 0.32."""


class Limit(NamedTuple):
    """How much an engine does at once unless told otherwise, on the smallest device, and the least worth trying."""

    default: int
    least: int


def server_remedies(limits: Mapping[str, Limit], least_utilization: float = LEAST_UTILIZATION) -> Remedies:
    """Of engines that reserve a device's memory before they answer.

    `limits`: what bounds what they do at once; `least_utilization`: the share of a device that is worth trying.
    """

    def remedy(engine: EngineSpec, failure: Failure, now: Circumstances) -> Remedy | None:
        match failure.code:
            case FailureCode.KV_CACHE_TOO_SMALL:
                return shorter(engine, failure) or wider(engine, now)
            case FailureCode.GPU_OUT_OF_MEMORY if now.loading and not failure.facts.get("many_at_once"):
                return wider(engine, now) or less_at_once(engine, limits)
            case FailureCode.GPU_OUT_OF_MEMORY:
                return less_at_once(engine, limits) or wider(engine, now)
            case FailureCode.ENGINE_START_FAILED if failure.facts.get("in_use"):
                return less_utilization(engine, failure, least_utilization)
            case _:
                return None

    return remedy


def shorter(engine: EngineSpec, failure: Failure) -> Remedy | None:
    """As long as the engine says it can; under the name that the job uses, since backends take only one."""
    name = "max_length" if engine.args.get("max_length") else "max_model_len"
    before = engine.args.get(name)
    length = failure.facts.get("longest")
    if not isinstance(length, int) or length < 1 or (before is not None and length >= int(before)):
        return None
    change = f"{name} {before or 'of the model'} -> {length}"
    return Remedy(changed(engine, **{name: length}), change, changes_answers=True)


def less_at_once(engine: EngineSpec, limits: Mapping[str, Limit]) -> Remedy | None:
    """Halve what the engine runs at once, down to what is worth it: half as much needs less."""
    now = {name: int(engine.args.get(name) or limit.default) for name, limit in limits.items()}
    less = {name: value // 2 for name, value in now.items() if value // 2 >= limits[name].least}
    if not less:
        return None
    said = {name: engine.args.get(name) or "of the engine" for name in less}
    change = ", ".join(f"{name} {said[name]} -> {value}" for name, value in less.items())
    return Remedy(changed(engine, **less), change)


def less_utilization(engine: EngineSpec, failure: Failure, least: float) -> Remedy | None:
    """What others leave free, where the engine says how much that is; else a tenth less."""
    share = float(engine.args.get("gpu_memory_utilization") or _told_share(failure))
    less = round(share - 0.1, 2)
    match failure.facts:
        case {"free_gib": int() | float() as free, "total_gib": int() | float() as total} if total > 0:
            left = int(100 * (free / total) - 1) / 100
            less = left if left < share else less
    if less < least:
        return None
    change = f"gpu_memory_utilization {share} -> {less}"
    return Remedy(changed(engine, gpu_memory_utilization=less), change)


def _told_share(failure: Failure) -> float:
    """What the engine wanted of a device, where it says so."""
    share = failure.facts.get("share")
    return share if isinstance(share, float) and 0 < share <= 1 else DEFAULT_UTILIZATION


def wider(engine: EngineSpec, now: Circumstances, switch: str | None = None) -> Remedy | None:
    """Twice the devices for one replica: by the argument that spreads the model, else by tensor parallelism."""
    gpus = engine.gpus * 2
    if gpus > now.widest:
        return None
    change = f"devices of one replica {engine.gpus} -> {gpus}"
    if switch:
        return Remedy(replace(changed(engine, **{switch: True}), gpus=gpus), change)
    tensor = engine.tensor_parallel_size * 2
    return Remedy(replace(engine, gpus=gpus, tensor_parallel_size=tensor), change)


def changed(engine: EngineSpec, **args: Any) -> EngineSpec:
    """The engine with other arguments."""
    return replace(engine, args={**engine.args, **args})
