"""What to change when an engine does not come up, or dies for want of memory: one step at a time, each told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.domain.engine_spec import EngineSpec
from app.domain.job import Failure
from app.domain.replica import Replica

LEAST_UTILIZATION = 0.5

ENGINE_TRIES = 3
"""Failed starts of an engine in a row before its jobs fail."""

FATAL = frozenset(
    {"model_not_found", "model_gated", "tokenizer_error", "kv_cache_too_small", "gpu_out_of_memory"}
)
"""Failures of a start that another try with the same settings does not mend."""

_LONGEST = re.compile(r"estimated maximum model length is ([\d,]+)")


@dataclass(frozen=True)
class Step:
    """The engine to try next, and what is different about it."""

    engine: EngineSpec
    change: str
    changes_answers: bool = False
    """Whether prompts may be cut differently, so that earlier answers do not count."""


@dataclass(frozen=True)
class Troubles:
    """Failed replicas of one engine spec, newest first, and what the hardware would allow instead."""

    failed: tuple[Replica, ...]
    served_at: datetime | None
    """When a replica of the spec was last loaded."""
    widest: int
    """Devices of the largest usable group."""

    @property
    def starts(self) -> list[Replica]:
        """Failed starts since the engine last came up."""
        return [
            r for r in self.failed if r.error and (self.served_at is None or r.placed_at > self.served_at)
        ]

    def step(self, engine: EngineSpec) -> Step | None:
        """The change of settings that the newest failure asks for."""
        newest = self.failed[0].error if self.failed else None
        return next_step(engine, newest, self.widest) if newest else None

    def verdict(self) -> Failure | None:
        """Why jobs of this engine must fail, or None while another start may mend it."""
        starts = self.starts
        newest = starts[0].error if starts else None
        if newest is None or (len(starts) < ENGINE_TRIES and newest.code not in FATAL):
            return None
        attempts = tuple(
            {"at": r.ended_at.isoformat(), "outcome": r.error.code, "replica": str(r.id)}
            for r in reversed(starts)
            if r.ended_at and r.error
        )
        return replace(newest, attempts=attempts)


def next_step(engine: EngineSpec, failure: Failure, widest: int) -> Step | None:
    """The cure for a failed engine, or None where there is none; `widest` is the largest group's device count."""
    match failure.code:
        case "kv_cache_too_small":
            return _shorter(engine, failure) or _wider(engine, widest)
        case "gpu_out_of_memory":
            return _fewer_sequences(engine) or _wider(engine, widest)
        case "engine_start_failed" if "gpu memory utilization" in failure.message.lower():
            return _less_utilization(engine)
        case _:
            return None


def _shorter(engine: EngineSpec, failure: Failure) -> Step | None:
    found = _LONGEST.search(failure.message) or _LONGEST.search("\n".join(failure.log_tail))
    if found is None:
        return None
    length = int(found[1].replace(",", ""))
    before = engine.args.get("max_model_len", "the model's own")
    return Step(
        _with(engine, max_model_len=length), f"max_model_len {before} -> {length}", changes_answers=True
    )


def _fewer_sequences(engine: EngineSpec) -> Step | None:
    """Halve what vLLM runs at once: half as many need less. HF halves its batches by itself."""
    at_once = int(engine.args.get("max_num_seqs", 256))
    if engine.backend != "vllm" or at_once <= 32:
        return None
    return Step(_with(engine, max_num_seqs=at_once // 2), f"max_num_seqs {at_once} -> {at_once // 2}")


def _less_utilization(engine: EngineSpec) -> Step | None:
    share = float(engine.args.get("gpu_memory_utilization", 0.9))
    less = round(share - 0.1, 2)
    if less < LEAST_UTILIZATION:
        return None
    return Step(_with(engine, gpu_memory_utilization=less), f"gpu_memory_utilization {share} -> {less}")


def _wider(engine: EngineSpec, widest: int) -> Step | None:
    """Twice the devices for one replica."""
    gpus = engine.gpus * 2
    if gpus > widest:
        return None
    change = f"devices of one replica {engine.gpus} -> {gpus}"
    if engine.backend == "hf":
        return Step(replace(_with(engine, parallelize=True), gpus=gpus), change)
    return Step(replace(engine, gpus=gpus, tensor_parallel_size=engine.tensor_parallel_size * 2), change)


def _with(engine: EngineSpec, **changed: Any) -> EngineSpec:
    args: Mapping[str, Any] = {**engine.args, **changed}
    return replace(engine, args=args)
