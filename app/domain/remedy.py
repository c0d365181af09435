"""What to change when an engine does not come up, or dies for want of memory: one step at a time, each told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.domain.device_faults import blames_device
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.replica import Replica

MOST_ATTEMPTS = 20
"""The newest failures that a job's error tells of."""

LEAST_UTILIZATION = 0.5
LEAST_SEQUENCES = 32
LEAST_TOKENS = 2048

ENGINE_TRIES = 3
"""Failed starts of an engine in a row before its jobs fail."""

TRIES: Mapping[FailureCode, int] = {
    FailureCode.MODEL_NOT_FOUND: 1,
    FailureCode.MODEL_GATED: 1,
    FailureCode.TOKENIZER_ERROR: 1,
    FailureCode.KV_CACHE_TOO_SMALL: 1,
    FailureCode.GPU_OUT_OF_MEMORY: 1,
    FailureCode.NCCL_ERROR: 2,
    FailureCode.LOST: 10,
}
"""Fewer where another try with the same settings mends nothing; devices that cannot talk are left for others once.
More where the engine may have had no part in it: workers are lost for many reasons."""

_REFUSED = re.compile(
    r"(TypeError|ValueError|ImportError|ModuleNotFoundError|AttributeError|NotImplementedError)\b"
)
"""How a start fails that would fail the same way again: by what it was given, or by what its environment has not."""

LOST_LOADING = (
    "worker after worker was lost while it loaded this engine: see their logs and their hosts' memory"
)

_LONGEST = re.compile(r"estimated maximum model length is ([\d,]+)")
_IN_USE = re.compile(r"(?is)free memory on device.*less than desired gpu memory utilization")
_FREE = re.compile(r"\(([\d.]+)/([\d.]+) GiB\)")


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
    """Devices of the largest usable group, or as many as were asked for."""
    asked_width: bool = False
    """Whether the job asked for this many devices per replica: then it gets no others."""
    history: tuple[Mapping[str, Any], ...] = ()
    """What was tried for the job before, the newest failure included."""

    @property
    def recent(self) -> list[Replica]:
        """Failures since the engine last came up."""
        return [r for r in self.failed if r.error and r.ended_at and _after(r.ended_at, self.served_at)]

    @property
    def starts(self) -> list[Replica]:
        """Failed starts since the engine last came up; a faulty device is not the engine's fault."""
        return [r for r in self.recent if r.serving_at is None and r.error and not blames_device(r.error)]

    def step(self, engine: EngineSpec) -> Step | None:
        """The change of settings that the newest failure asks for, once it is not to be waited out."""
        newest = self.recent[0] if self.recent else None
        if newest is None or newest.error is None:
            return None
        if _IN_USE.search(newest.error.message) and len(self.starts) < 2:
            return None  # the devices are cleaned and the engine is started once more as it is
        return next_step(engine, newest.error, self.widest, loading=newest.serving_at is None)

    def verdict(self) -> Failure | None:
        """Why jobs of this engine must fail, or None while another start may mend it."""
        starts = self.starts
        newest = starts[0].error if starts else None
        if newest is not None and newest.code != FailureCode.LOST:
            starts = [start for start in starts if start.error and start.error.code != FailureCode.LOST]
        if newest is None or len(starts) < _tries(newest):
            return None
        return replace(newest, hint=self._hint(newest), attempts=self.history)

    def _hint(self, failure: Failure) -> str | None:
        if failure.code == FailureCode.LOST:
            return LOST_LOADING
        if not (
            self.asked_width
            and failure.code in {FailureCode.GPU_OUT_OF_MEMORY, FailureCode.KV_CACHE_TOO_SMALL}
        ):
            return failure.hint
        asked = f"the job asks for {self.widest} device{'s' if self.widest > 1 else ''} per replica and gets no more"
        return "; ".join(filter(None, (failure.hint, asked)))


def _tries(failure: Failure) -> int:
    refused = _REFUSED.match(failure.message) and not _IN_USE.search(failure.message)
    if failure.code == FailureCode.ENGINE_START_FAILED and refused:
        return 1
    return TRIES.get(failure.code, ENGINE_TRIES)


def may_fail_again(failed: Replica) -> bool:
    """Whether the same engine on the same devices would likely fail again: not where its process was just ended."""
    return failed.error is not None and failed.error.code not in {
        FailureCode.ENGINE_DIED,
        FailureCode.HOST_OUT_OF_MEMORY,
        FailureCode.STALLED,
    }


def may_change(failed: Replica) -> bool:
    """Whether its jobs may want other settings now; where devices cannot talk, other devices are all it takes."""
    return failed.error is not None and failed.error.code != FailureCode.NCCL_ERROR


def _after(time: datetime, other: datetime | None) -> bool:
    return other is None or time > other


def attempts(
    failed: Sequence[Replica], ladder: Sequence[Mapping[str, Any]], engine_key: str
) -> tuple[Any, ...]:
    """What was tried, oldest first: the change that led to each failed replica, and how it failed.

    A step of the ladder names the engine that it left; the last step led to `engine_key`.
    """
    engines = [*(step["engine_key"] for step in ladder), engine_key]
    changes = dict(zip(engines, [None, *(step["change"] for step in ladder)], strict=True))
    tried = tuple(
        {
            "at": replica.ended_at.isoformat(),
            "change": changes.get(replica.engine.key),
            "outcome": replica.error.code,
            "replica": str(replica.id),
        }
        for replica in failed
        if replica.ended_at and replica.error
    )
    return tried[-MOST_ATTEMPTS:]


def next_step(engine: EngineSpec, failure: Failure, widest: int, *, loading: bool = False) -> Step | None:
    """The cure for a failed engine, or None where there is none; `widest` bounds the devices of one replica."""
    match failure.code:
        case FailureCode.KV_CACHE_TOO_SMALL:
            return _shorter(engine, failure) or _wider(engine, widest)
        case FailureCode.GPU_OUT_OF_MEMORY if loading and "max_num_seqs" not in failure.message:
            return _wider(engine, widest) or _less_at_once(engine)
        case FailureCode.GPU_OUT_OF_MEMORY:
            return _less_at_once(engine) or _wider(engine, widest)
        case FailureCode.ENGINE_START_FAILED if _IN_USE.search(failure.message):
            return _less_utilization(engine, failure)
        case _:
            return None


def _shorter(engine: EngineSpec, failure: Failure) -> Step | None:
    """As long as the engine says it can; under the name that the job uses, since backends take only one."""
    found = _LONGEST.search(failure.message) or _LONGEST.search("\n".join(failure.log_tail))
    name = "max_length" if engine.args.get("max_length") else "max_model_len"
    before = engine.args.get(name)
    length = int(found[1].replace(",", "")) if found else 0
    if length < 1 or (before is not None and length >= int(before)):
        return None
    change = f"{name} {before or 'of the model'} -> {length}"
    return Step(_with(engine, **{name: length}), change, changes_answers=True)


def _less_at_once(engine: EngineSpec) -> Step | None:
    """Halve what vLLM runs at once: half as much needs less. HF halves its batches by itself."""
    if engine.backend != "vllm":
        return None
    limits = {"max_num_batched_tokens": (8192, LEAST_TOKENS), "max_num_seqs": (256, LEAST_SEQUENCES)}
    now = {name: int(engine.args.get(name, default)) for name, (default, _) in limits.items()}
    less = {name: value // 2 for name, value in now.items() if value // 2 >= limits[name][1]}
    if not less:
        return None
    change = ", ".join(f"{name} {now[name]} -> {value}" for name, value in less.items())
    return Step(_with(engine, **less), change)


def _less_utilization(engine: EngineSpec, failure: Failure) -> Step | None:
    """What others leave free, where the engine says how much that is; else a tenth less."""
    share = float(engine.args.get("gpu_memory_utilization", 0.9))
    free = _FREE.search(failure.message)
    tenth_less = round(share - 0.1, 2)
    left = int(100 * float(free[1]) / float(free[2]) - 1) / 100 if free else tenth_less
    less = left if left < share else tenth_less
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
