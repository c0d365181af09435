"""From what a user posted to a job that can run: every fault at once, or a complete spec and a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.arguments.kinds import shown
from app.backends import backend_of_model, known_model_names
from app.db.groups import GroupRepository
from app.db.session import Sessions
from app.domain.engine_spec import EngineSpec
from app.domain.group import GroupView
from app.domain.plan import Plan
from app.errors import FaultyField, InvalidJobError
from app.settings import Settings
from app.workloads.lm_eval.command.command_line import parse_command
from app.workloads.lm_eval.command.equivalent_command import to_command
from app.workloads.lm_eval.reading.engine import EngineReader
from app.workloads.lm_eval.reading.fields import MOST_STRING, FieldReader, read_fields
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


class SubmissionService:
    """Checks a posted job against everything that can be known without a GPU."""

    def __init__(self, *, sessions: Sessions, settings: Settings) -> None:
        self._sessions = sessions
        self._settings = settings

    def check(self, fields: Mapping[str, Any]) -> Submission:
        """The complete job, or InvalidJobError with all its faults."""
        reader = read_fields(self._with_command(fields), self._settings)
        read_values(reader)
        refuse_unsafe(reader, self._settings)
        tasks = read_tasks(reader, self._settings)
        engine = self._engine(reader)
        if reader.faults or engine is None:
            raise InvalidJobError(reader.faults)
        spec, notes = LmEvalSpec.from_json(reader.spec), _first(reader.notes)
        plan = Plan(
            backend=engine.spec.backend,
            tensor_parallel_size=engine.spec.tensor_parallel_size,
            pipeline_parallel_size=engine.spec.pipeline_parallel_size,
            gpus_per_replica=engine.spec.gpus,
            replicas=None if spec.replicas == "auto" else spec.replicas,
            group=spec.group,
            memory_per_gpu_gib=engine.memory_per_gpu_gib,
            explanation=(*engine.explanation, *notes),
            command=to_command(spec),
        )
        return Submission(spec, engine.spec, plan, tuple(tasks), notes)

    def _with_command(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of a pasted command, under the fields beside it."""
        given = {name: value for name, value in fields.items() if value is not None}
        text = given.pop("command", None)
        if text is None:
            return given
        if len(text) > MOST_STRING:
            raise InvalidJobError([FaultyField("command", f"has at most {MOST_STRING} characters")])
        parsed = parse_command(text, {})
        if parsed.faults:
            raise InvalidJobError(parsed.faults)
        return parsed.fields | given | {"_notes": parsed.notes}

    def _engine(self, reader: FieldReader) -> EngineReader | None:
        model = reader.given("model")
        if model is None:
            reader.fault(
                "model", "is required: the backend to evaluate with", known_model_names(self._settings)
            )
            return None
        backend = backend_of_model(str(model))
        if backend is None or not backend.allowed(self._settings):
            reader.fault("model", f"there is no backend {shown(model)}", known_model_names(self._settings))
            return None
        with self._sessions.begin() as session:
            groups = GroupRepository(session).views()
        return EngineReader(
            reader, backend, self._settings, usable_groups(reader, backend.name, groups)
        ).read()


def _first(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes as a plan tells them, of very many the first and a count."""
    if len(notes) <= MOST_NOTES:
        return tuple(notes)
    return (*notes[:MOST_NOTES], f"and {len(notes) - MOST_NOTES} more notes")


def usable_groups(reader: FieldReader, backend: str, groups: Sequence[GroupView]) -> list[GroupView]:
    """The groups this job may run on; faults where there are workers and none would do."""
    wanted = reader.given("group")
    named = [group for group in groups if wanted in (None, group.name)]
    if wanted is not None and not named:
        names = tuple(group.name for group in groups)
        reader.fault("group", f"there is no group {shown(wanted)}", names)
    if not groups:
        reader.notes.append("no worker is running yet: the job waits until one with this backend is started")
    offering = [group for group in named if backend in group.backends]
    if named and not offering:
        offered = sorted({name for group in named for name in group.backends})
        reader.faults.append(
            FaultyField(
                "model",
                f"backend {backend} is installed on no worker that may be used: run `evalq backends install {backend}`"
                " on a worker's host",
                tuple(offered),
            )
        )
    return offering
