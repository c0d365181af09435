"""From what a user posted to a job that can run: every fault at once, or a complete spec and a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.arguments.kinds import shown
from app.backends import Backend, backend_of_model, known_model_names
from app.backends.elsewhere import elsewhere
from app.backends.standing_in import serving, serving_instead
from app.domain.engine_spec import EngineSpec
from app.domain.group import GroupView
from app.domain.measures import Recall, nothing_measured
from app.domain.plan import Plan, PlannedMeasures, PlannedMemory
from app.domain.prompt_lengths import PromptLengths
from app.errors import FaultyField, InvalidJobError
from app.settings import Settings
from app.workloads.lm_eval.command.equivalent_command import to_command
from app.workloads.lm_eval.reading.capacity import named_groups, usable_groups
from app.workloads.lm_eval.reading.engine import EngineReader
from app.workloads.lm_eval.reading.fields import FieldReader, read_fields
from app.workloads.lm_eval.reading.pasted import pasted
from app.workloads.lm_eval.reading.safety import refuse_unsafe
from app.workloads.lm_eval.reading.tasks import read_tasks
from app.workloads.lm_eval.reading.values import read_values
from app.workloads.lm_eval.spec import LmEvalSpec

MOST_NOTES = 50
MOST_COMMAND = 20_000
"""Characters: what a longer one holds stands in the spec, and is neither stored nor sent twice."""
MOST_WORDS = 300
"""Characters of what a job waits for: it stands in lists."""


@dataclass(frozen=True)
class Submission:
    """A job that passed every check, not yet stored."""

    spec: LmEvalSpec
    engine: EngineSpec
    plan: Plan
    tasks: tuple[str, ...]
    """Leaf tasks the names expand to."""
    notes: tuple[str, ...] = ()
    lacking: tuple[FaultyField, ...] = ()
    """What the cluster has not, and the job waits for."""
    waits_for: str | None = None
    """The same in words; also a worker at all. Its plan is made again when it comes."""


def read(
    posted: Mapping[str, Any],
    groups: Sequence[GroupView],
    settings: Settings,
    *,
    settled: bool = True,
    recall: Recall = nothing_measured,
    prompts: PromptLengths | None = None,
) -> Submission:
    """The complete job, or InvalidJobError with all its faults; `groups` is where engines could run.

    What the cluster lacks is waited for where the job says so, or where it is not `settled` what there is.
    """
    found = pasted(posted, settings.env_allowed)
    reader = read_fields(found.given, settings, found.notes, found.unsure)
    reader.faults[:0] = found.faults
    read_values(reader)
    refuse_unsafe(reader, settings)
    tasks = read_tasks(reader, settings)
    backend = _backend(reader, settings, asked="model" in found.given)
    engine = _engine(reader, backend, groups, settings, recall) if backend else None
    if engine is not None:
        engine.width.prompts = prompts
    complete = engine is not None and engine.read() is not None
    comes = not settled and not (backend and backend.planned_only)
    waits = reader.spec.wait_for_capacity or comes
    faulty = any(not (fault.lacking and waits) for fault in reader.faults)
    if faulty or engine is None or not complete:
        raise InvalidJobError(reader.faults, plan=_refused(reader.spec, engine, groups) if engine else None)
    if waits_for := _waits_for(reader, engine, groups):
        reader.notes.append(f"the job waits for {waits_for}")
    notes = _first(reader.notes)
    return Submission(
        reader.spec,
        engine.spec,
        _plan(reader.spec, engine, notes),
        tuple(tasks),
        notes,
        tuple(reader.faults),
        waits_for,
    )


def read_again(
    spec: LmEvalSpec, bound: str, groups: Sequence[GroupView], settings: Settings
) -> Submission | None:
    """A stored job on the backend that serves it now; None where the one it is `bound` to still does, or none would.

    InvalidJobError where what serves it now does not take it, or lacks what it needs.
    """
    named = named_groups(groups, spec.group)
    if serving_instead(spec.model, bound, {name for group in named for name in group.there}) is None:
        return None
    return read(replace(spec, wait_for_capacity=False).to_json(), groups, settings)


def read_waiting(
    spec: LmEvalSpec,
    groups: Sequence[GroupView],
    settings: Settings,
    recall: Recall = nothing_measured,
) -> Submission:
    """A stored job that waits for capacity, planned for what there is now; InvalidJobError where it is at fault."""
    return read(replace(spec, wait_for_capacity=True).to_json(), groups, settings, recall=recall)


def _waits_for(reader: FieldReader, engine: EngineReader, groups: Sequence[GroupView]) -> str | None:
    lacks = "; ".join(fault.lacks for fault in reader.faults if fault.lacks)
    if groups or lacks:
        return f"{lacks[:MOST_WORDS]}..." if len(lacks) > MOST_WORDS else lacks or None
    place = f" in group {reader.spec.group}" if reader.spec.group else ""
    return f"a worker with backend {engine.backend.name}{place}"


def _backend(reader: FieldReader, settings: Settings, *, asked: bool) -> Backend | None:
    model, known = reader.spec.model, known_model_names(settings)
    if not asked:
        reader.fault("model", "is required: the backend to evaluate with", known)
        return None
    backend = backend_of_model(model)
    if backend is not None and backend.allowed(settings):
        return backend
    if other := elsewhere(model):
        instead = f": use {' or '.join(other.near)}" if other.near else ""
        reader.fault(
            "model", f"evalq does not plan for {model}: it {other.what}{instead}", other.near or known
        )
    else:
        reader.fault("model", f"there is no backend {shown(model)}", known)
    return None


def _engine(
    reader: FieldReader,
    backend: Backend,
    groups: Sequence[GroupView],
    settings: Settings,
    recall: Recall,
) -> EngineReader:
    named = named_groups(groups, reader.spec.group)
    found = serving(backend, {name for group in named for name in group.there})
    if found is not backend:
        reader.notes.append(f"{found.title} serves it, since no worker that it may use has {backend.name}")
    usable = usable_groups(reader, found, groups)
    others = [group for group in groups if found.name in group.backends and group not in usable]
    return EngineReader(reader, found, settings, usable or named, others, recall=recall)


def _refused(spec: LmEvalSpec, engine: EngineReader, groups: Sequence[GroupView]) -> Plan:
    """How a job would run that is at fault; of what was sent it repeats nothing that may be no more than a fault."""
    known = spec.group in {group.name for group in groups}
    bare = LmEvalSpec(model=engine.backend.name, replicas=spec.replicas, group=spec.group if known else None)
    return replace(_plan(bare, engine, ()), command="")


def _plan(spec: LmEvalSpec, engine: EngineReader, notes: tuple[str, ...]) -> Plan:
    """How it runs."""
    width, layout = engine.width, engine.width.layout
    command = to_command(_spread(spec, engine))
    if len(command) > MOST_COMMAND:
        notes = (
            *notes,
            f"the equal command has {len(command)} characters and is not kept beside the job's spec",
        )
    return Plan(
        backend=engine.backend.name,
        tensor_parallel_size=layout.tensor,
        pipeline_parallel_size=layout.pipeline,
        gpus_per_replica=layout.gpus,
        replicas=None if spec.replicas == "auto" else spec.replicas,
        group=spec.group,
        memory_per_gpu_gib=round(layout.memory.gib, 2) if layout.memory else None,
        explanation=(*width.explanation, *notes),
        command=command if len(command) <= MOST_COMMAND else "",
        memory=PlannedMemory.of(layout.memory, width.source) if layout.memory else None,
        fit=layout.fit,
        ways_out=width.ways_out,
        measured=PlannedMeasures.of(layout.measured) if layout.measured else None,
        scoring_mode=engine.scoring,
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
