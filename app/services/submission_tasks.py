"""The tasks of a posted job: names that exist, expanded to leaf tasks."""

from __future__ import annotations

from app.harnesses.task_index import TaskIndex
from app.services.submission_fields import FieldReader
from app.settings import Settings


def read_tasks(reader: FieldReader, settings: Settings) -> list[str]:
    """Leaf tasks the names expand to; faults for unknown names with near ones, and for tasks named twice."""
    names = [name.strip() for name in reader.given("tasks") if name.strip()]
    if not names:
        reader.fault(
            "tasks", "at least one task, group or tag is required; `GET /v1/tasks?search=` finds them"
        )
        return []
    index = TaskIndex.load(settings.task_paths)
    if faults := index.faults(names):
        reader.faults += faults
        return []
    reader.spec["tasks"] = index.resolve(names)
    leaves = index.expand(names)
    _refuse_unsafe(reader, index, leaves)
    _check_samples(reader, leaves)
    return leaves


def _refuse_unsafe(reader: FieldReader, index: TaskIndex, leaves: list[str]) -> None:
    if reader.given("confirm_run_unsafe_code"):
        return
    for leaf in leaves:
        entry = index.get(leaf)
        if entry is not None and entry.unsafe_code:
            reader.fault(
                "tasks", f"task {leaf} runs code that the model wrote: it needs confirm_run_unsafe_code"
            )


def _check_samples(reader: FieldReader, leaves: list[str]) -> None:
    samples = reader.given("samples")
    if isinstance(samples, dict):
        for task in samples.keys() - set(leaves):
            reader.fault(f"samples.{task}", "this is not one of the job's tasks", tuple(leaves))
