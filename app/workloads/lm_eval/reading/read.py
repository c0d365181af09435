"""From what a user posted to a job that can run: every fault at once, or a complete spec and a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.arguments.kinds import shown
from app.backends import Backend, backend_of_model, known_model_names
from app.backends.standing_in import serving, serving_instead, that_serve
from app.domain.engine_spec import EngineSpec
from app.domain.group import GroupView, unusable
from app.domain.plan import Plan, PlannedMemory
from app.errors import InvalidJobError
from app.settings import Settings
from app.workloads.lm_eval.command.equivalent_command import to_command
from app.workloads.lm_eval.reading.engine import EngineReader
from app.workloads.lm_eval.reading.fields import FieldReader, read_fields
from app.workloads.lm_eval.reading.pasted import pasted
from app.workloads.lm_eval.reading.safety import refuse_unsafe
from app.workloads.lm_eval.reading.tasks import read_tasks
from app.workloads.lm_eval.reading.values import read_values
from app.workloads.lm_eval.spec import LmEvalSpec

MOST_NOTES = 50


@dataclass(frozen=True)
class Submission:
    """A job that passed every check, not yet stored."""

    spec: LmEvalSpec
    engine: EngineSpec
    plan: Plan
    tasks: tuple[str, ...]
    """Leaf tasks the names expand to."""
    notes: tuple[str, ...] = ()


def read(posted: Mapping[str, Any], groups: Sequence[GroupView], settings: Settings) -> Submission:
    """The complete job, or InvalidJobError with all its faults; `groups` is where engines could run."""
    found = pasted(posted)
    reader = read_fields(found.given, settings, found.notes, found.unsure)
    reader.faults[:0] = found.faults
    read_values(reader)
    refuse_unsafe(reader, settings)
    tasks = read_tasks(reader, settings)
    backend = _backend(reader, settings, asked="model" in found.given)
    engine = _engine(reader, backend, groups, settings) if backend else None
    complete = engine is not None and engine.read() is not None
    if reader.faults or engine is None or not complete:
        raise InvalidJobError(reader.faults, plan=_refused(reader.spec, engine, groups) if engine else None)
    notes = _first(reader.notes)
    return Submission(reader.spec, engine.spec, _plan(reader.spec, engine, notes), tuple(tasks), notes)


def read_again(
    spec: LmEvalSpec, bound: str, groups: Sequence[GroupView], settings: Settings
) -> Submission | None:
    """A stored job on the backend that serves it now; None where the one it is `bound` to still does, or none would.

    InvalidJobError where what serves it now does not take it.
    """
    named = named_groups(groups, spec.group)
    if serving_instead(spec.model, bound, {name for group in named for name in group.there}) is None:
        return None
    return read(spec.to_json(), groups, settings)


def _backend(reader: FieldReader, settings: Settings, *, asked: bool) -> Backend | None:
    model, known = reader.spec.model, known_model_names(settings)
    if not asked:
        reader.fault("model", "is required: the backend to evaluate with", known)
        return None
    backend = backend_of_model(model)
    if backend is None or not backend.allowed(settings):
        reader.fault("model", f"there is no backend {shown(model)}", known)
        return None
    return backend


def _engine(
    reader: FieldReader, backend: Backend, groups: Sequence[GroupView], settings: Settings
) -> EngineReader:
    named = named_groups(groups, reader.spec.group)
    found = serving(backend, {name for group in named for name in group.there})
    if found is not backend:
        reader.notes.append(f"{found.title} serves it, since no worker that it may use has {backend.name}")
    usable = usable_groups(reader, found.name, groups)
    return EngineReader(reader, found, settings, usable or named)


def named_groups(groups: Sequence[GroupView], wanted: str | None) -> list[GroupView]:
    """The groups that a job which asks for this one may use, whatever they have."""
    return [group for group in groups if wanted in (None, group.name)]


def usable_groups(reader: FieldReader, backend: str, groups: Sequence[GroupView]) -> list[GroupView]:
    """The groups this job may run on; faults where there are workers and none would do."""
    wanted = reader.spec.group
    named = named_groups(groups, wanted)
    if wanted is not None and not named:
        names = tuple(group.name for group in groups)
        reader.fault("group", f"there is no group {shown(wanted)}", names)
    if not groups:
        reader.notes.append("no worker is running yet: the job waits until one with this backend is started")
    offering = [group for group in named if backend in group.backends]
    broken = [(group.name, unusable(group.installed).get(backend)) for group in named]
    if waits := [f"on group {name} it does not work now ({why})" for name, why in broken if why]:
        if not offering:
            reader.notes.append(f"backend {backend}: {'; '.join(waits)}: the job waits until it does")
    elif named and not offering:
        offered = sorted({name for group in named for name in group.backends})
        message = f"backend {backend} is installed on no worker that may be used"
        installable = " or ".join(that_serve(reader.spec.model))
        way_out = f"run `evalq backends install {installable}` on a worker's host"
        reader.fault("model", f"{message}: {way_out}", tuple(offered))
    return offering


def _refused(spec: LmEvalSpec, engine: EngineReader, groups: Sequence[GroupView]) -> Plan:
    """How a job would run that is at fault; of what was sent it repeats nothing that may be no more than a fault."""
    known = spec.group in {group.name for group in groups}
    bare = LmEvalSpec(model=engine.backend.name, replicas=spec.replicas, group=spec.group if known else None)
    return replace(_plan(bare, engine, ()), command="")


def _plan(spec: LmEvalSpec, engine: EngineReader, notes: tuple[str, ...]) -> Plan:
    """How it runs."""
    width, layout = engine.width, engine.width.layout
    return Plan(
        backend=engine.backend.name,
        tensor_parallel_size=layout.tensor,
        pipeline_parallel_size=layout.pipeline,
        gpus_per_replica=layout.gpus,
        replicas=None if spec.replicas == "auto" else spec.replicas,
        group=spec.group,
        memory_per_gpu_gib=round(layout.memory.gib, 2) if layout.memory else None,
        explanation=(*width.explanation, *notes),
        command=to_command(_spread(spec, engine)),
        memory=PlannedMemory.of(layout.memory, width.source) if layout.memory else None,
        fit=layout.fit,
        ways_out=width.ways_out,
    )


def _spread(spec: LmEvalSpec, engine: EngineReader) -> LmEvalSpec:
    """As a command must say it: with the width that was chosen."""
    layout, names = engine.width.layout, engine.backend.parallelism
    args = dict(spec.model_args)
    if layout.pipeline > 1 and names.tensor and names.pipeline:
        args |= {names.tensor[0]: layout.tensor, names.pipeline[0]: layout.pipeline}
    return replace(spec, model_args=args, gpus_per_replica=layout.gpus)


def _first(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes as a plan tells them, of very many the first and a count."""
    if len(notes) <= MOST_NOTES:
        return tuple(notes)
    return (*notes[:MOST_NOTES], f"and {len(notes) - MOST_NOTES} more notes")
