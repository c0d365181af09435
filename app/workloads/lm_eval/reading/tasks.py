"""The tasks of a posted job: names that exist, expanded to leaf tasks."""

from __future__ import annotations

from app.models.model_folder import is_local, within
from app.settings import Settings
from app.workloads.lm_eval.reading.fields import FieldReader
from app.workloads.lm_eval.reading.safety import READ_AS_MODEL
from app.workloads.lm_eval.spec import MOST_NAMES
from app.workloads.lm_eval.tasks.group_members import member_faults
from app.workloads.lm_eval.tasks.task_index import TaskIndex

MOST_PATTERNS = 50
MOST_TASKS = 5000
MOST_CHARACTERS = 300
NEAR_FAULTS = 3
"""Faults that list what would be right."""
RUN_TOKENIZER_CODE = frozenset({"ruler", "babilong"})
"""Folders of lm-eval 0.4.13 whose tasks do so (tasks/*/common_utils.py, `get_tokenizer`)."""


def read_tasks(reader: FieldReader, settings: Settings) -> list[str]:
    """Leaf tasks the names expand to; faults for unknown names with near ones, and for tasks named twice."""
    names = [name.strip() for name in reader.spec.tasks if name.strip()]
    if not names:
        reader.fault(
            "tasks", "at least one task, group or tag is required; `GET /v1/tasks?search=` finds them"
        )
        return []
    if _too_much(reader, names):
        return []
    index = TaskIndex.load(settings.task_paths)
    if (count := len(index.resolve(names))) > MOST_TASKS:
        reader.fault("tasks", f"stands for {count} names: a job has at most {MOST_TASKS}")
        return []
    if faults := index.faults(names) or member_faults(index, names):
        for fault in faults:
            reader.fault(fault.path, fault.message, fault.allowed)
        return []
    _refuse_links(reader, index, names, settings)
    reader.put(tasks=tuple(index.resolve(names)))
    leaves = index.expand(names)
    reader.refuse_unless(bool(leaves), "tasks", "these names stand for groups without a member")
    _refuse_unsafe(reader, index, leaves)
    if not settings.allow_unsafe_code:
        _refuse_tokenizer_code(reader, index, leaves)
    _check_samples(reader, leaves)
    return leaves


def _too_much(reader: FieldReader, names: list[str]) -> bool:
    """Whether looking the names up would take longer than any job deserves."""
    known = len(reader.faults)
    if len(names) > MOST_NAMES:
        reader.fault("tasks", f"at most {MOST_NAMES} names: groups hold many")
        return True
    for at, name in enumerate(names):
        if len(name) > MOST_CHARACTERS:
            reader.fault(f"tasks.{at}", f"a name has at most {MOST_CHARACTERS} characters")
    patterns = sum(any(sign in name for sign in "*?[") for name in names)
    reader.refuse_unless(patterns <= MOST_PATTERNS, "tasks", f"at most {MOST_PATTERNS} names with *, ? or [")
    return len(reader.faults) > known


def _refuse_unsafe(reader: FieldReader, index: TaskIndex, leaves: list[str]) -> None:
    if reader.spec.confirm_run_unsafe_code:
        return
    for leaf in leaves:
        entry = index.get(leaf)
        if entry is not None and entry.unsafe_code:
            reader.fault(
                "tasks", f"task {leaf} runs code that the model wrote: it needs confirm_run_unsafe_code"
            )


def _refuse_links(reader: FieldReader, index: TaskIndex, names: list[str], settings: Settings) -> None:
    """A task file is code; one that a link in the operator's folders leads to elsewhere is not the operator's."""
    for entry in index.closure(names):
        path = entry.yaml_path
        listed = path is not None and any(path.is_relative_to(root) for root in settings.task_paths)
        if path is not None and listed and not within(path, settings.task_paths):
            reader.fault("tasks", f"the file of {entry.name} lies outside the operator's task folders")


def _refuse_tokenizer_code(reader: FieldReader, index: TaskIndex, leaves: list[str]) -> None:
    """These tasks load a tokenizer with `trust_remote_code=True`, whatever the job says."""
    arguments = {**reader.spec.model_args, **(reader.spec.metadata or {})}
    hub_names = [arguments[name] for name in READ_AS_MODEL if not is_local(str(arguments.get(name, "/")))]
    for leaf in leaves if hub_names else ():
        entry = index.get(leaf)
        if entry and entry.yaml_path and RUN_TOKENIZER_CODE.intersection(entry.yaml_path.parts):
            message = f"task {leaf} lets lm-eval run code of {hub_names[0]}: name a local folder, or"
            reader.fault("tasks", f"{message} ask the operator for EVALQ_ALLOW_UNSAFE_CODE")
            return


def _check_samples(reader: FieldReader, leaves: list[str]) -> None:
    samples, allowed = reader.spec.samples or {}, tuple(leaves)
    for at, task in enumerate(sorted(samples.keys() - set(leaves))):
        near = allowed if at < NEAR_FAULTS else None
        reader.fault(f"samples.{task}", "this is not one of the job's tasks", near)
