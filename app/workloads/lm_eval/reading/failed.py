"""What would help a job that failed for memory: planned again, on devices that hold less than it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.backends import BACKENDS
from app.domain.engine_spec import EngineSpec
from app.domain.failure import Failure, FailureCode
from app.domain.group import GroupView
from app.domain.measures import Recall, nothing_measured
from app.domain.memory import GIB
from app.domain.plan import Plan
from app.domain.prompt_lengths import PromptLengths, says_cut
from app.domain.ways_out import MOST_WAYS, WayOut
from app.errors import InvalidJobError
from app.settings import Settings
from app.workloads.lm_eval.reading.read import read
from app.workloads.lm_eval.spec import LmEvalSpec

SURELY_LESS = 0.97
"""Of what was reckoned and did not fit, whatever a device says that it has."""

WIDTHS = frozenset({"gpus_per_replica"})


@dataclass(frozen=True)
class Setting:
    """What there is now to plan with."""

    groups: Sequence[GroupView]
    settings: Settings
    recall: Recall = nothing_measured
    prompts: PromptLengths | None = None


def ways_out_of(spec: LmEvalSpec, engine: EngineSpec, failure: Failure, now: Setting) -> tuple[WayOut, ...]:
    """Changes of the job, as its engine was when it failed, that make it fit; none where nothing is known of it."""
    told = list(_told_length(engine, failure, now.prompts))
    reckoned = list(_reckoned(_as_it_failed(spec, engine), engine, failure, now))
    lengths = {f"model_args.{name}" for name in BACKENDS[engine.backend].memory.lengths}
    others = [way for way in reckoned if not told or lengths.isdisjoint(way.change)]
    return (*told, *others)[:MOST_WAYS]


def _told_length(engine: EngineSpec, failure: Failure, prompts: PromptLengths | None) -> Iterator[WayOut]:
    """As long as the engine said that it can."""
    names = BACKENDS[engine.backend].memory.lengths
    longest = failure.facts.get("longest")
    if not names or not isinstance(longest, int) or isinstance(longest, bool) or longest < 1:
        return
    name = next((name for name in names if engine.args.get(name)), names[0])
    note = f"the engine said that so many fit; {says_cut(prompts, longest)}"
    yield WayOut({f"model_args.{name}": longest}, fits=True, note=note)


def _reckoned(spec: LmEvalSpec, engine: EngineSpec, failure: Failure, now: Setting) -> Iterator[WayOut]:
    """By the arithmetic, after what failed: a device is worth less than what that was reckoned to take."""
    failed = _planned(spec, now)
    if failed is None or failed.memory is None:
        return
    most = SURELY_LESS * failed.memory.card_gib * GIB
    smaller = [replace(group, devices=_worth(group, most)) for group in now.groups]
    again = _planned(spec, replace(now, groups=smaller))
    host = failure.code is FailureCode.HOST_OUT_OF_MEMORY
    tensor = BACKENDS[engine.backend].parallelism
    wider = WIDTHS | {f"model_args.{name}" for name in (*tensor.tensor, *tensor.pipeline)}
    for way in again.ways_out if again else ():
        if not host or wider.isdisjoint(way.change):
            yield way


def _planned(spec: LmEvalSpec, now: Setting) -> Plan | None:
    """The plan of the job as it is, also where it is refused by now; None where there is none."""
    posted = replace(spec, wait_for_capacity=True).to_json()
    try:
        return read(posted, now.groups, now.settings, recall=now.recall, prompts=now.prompts).plan
    except InvalidJobError as error:
        return error.plan if isinstance(error.plan, Plan) else None


def _as_it_failed(spec: LmEvalSpec, engine: EngineSpec) -> LmEvalSpec:
    """With the arguments and the width that the engine had, which remedies may have changed."""
    names = BACKENDS[engine.backend].memory.lengths
    own: dict[str, Any] = {name: engine.args[name] for name in spec.model_args if name in engine.args}
    lengths = [name for name in names if engine.args.get(name)]
    if lengths and not spec.model_args.keys() & set(names):
        own[lengths[0]] = engine.args[lengths[0]]
    return replace(spec, model_args={**spec.model_args, **own}, gpus_per_replica=_width(spec, engine))


def _width(spec: LmEvalSpec, engine: EngineSpec) -> Any:
    """As many devices as it had, unless its arguments say that."""
    names = BACKENDS[engine.backend].parallelism
    said = spec.model_args.keys() & {*names.tensor, *names.pipeline}
    return spec.gpus_per_replica if said else engine.gpus


def _worth(group: GroupView, most: float) -> tuple[Any, ...]:
    """Its devices, none of them with more memory than this."""
    return tuple(
        replace(device, memory_bytes=int(min(device.memory_bytes or most, most))) for device in group.devices
    )
