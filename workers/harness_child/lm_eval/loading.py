"""Load and build tasks as lm-eval does, each on its own risk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.evaluator_utils import get_sample_size
from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind
from lm_eval.utils import pattern_match

from app.workloads.lm_eval.spec import LmEvalSpec
from workers.harness_child.errors import TASK_ERROR, TaskFailedError, caught, sayable
from workers.harness_child.lm_eval.broker_lm import BrokerLM
from workers.protocol.harness import EvaluateOrder, FailureTold, TaskEntry

T = TypeVar("T")

LONGEST_NAME = 300
"""A longer one is no key of a row."""

_DATA = frozenset({"dataset_path", "custom_dataset"})


@dataclass
class LoadedTasks:
    """What a job evaluates: leaf tasks, groups, and the names that could not be loaded."""

    tasks: dict[str, Task]
    groups: dict[str, Group]
    failures: dict[str, BaseException]


@dataclass
class _MissingTask:
    """Stands for a task that failed to load; lm-eval's groups pass over what is not a Task."""

    task_name: str


@dataclass
class _Risks:
    """Runs the code of each name on its own risk; load errors by name."""

    working: Callable[[str | None], None]
    """Told whose code runs from now on."""
    given_up: Mapping[str, FailureTold]
    errors: dict[str, BaseException] = field(default_factory=dict)
    _at: str | None = None

    def take(self, name: object, build: Callable[[], T]) -> T | _MissingTask:
        """What `build` gives, or what stands for it."""
        known = sayable(str(name))[:LONGEST_NAME]
        if known in self.given_up:
            return self.missing(known, _given_up(self.given_up[known]))
        above, self._at = self._at, known
        self.working(known)
        built: list[T] = []
        with caught(lambda error: self.errors.update({known: error})):
            built.append(build())
        self._at = above
        self.working(above)
        return built[0] if built else _MissingTask(known)

    def missing(self, name: str, error: BaseException) -> _MissingTask:
        self.errors[name] = error
        return _MissingTask(name)


class _TolerantFactory(TaskFactory):  # type: ignore[misc]
    """A task factory that goes on without the tasks that fail."""

    def __init__(self, risks: _Risks, metadata: dict[str, Any]) -> None:
        super().__init__(meta=metadata)
        self._risks = risks

    def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Task | _MissingTask:
        def build() -> Task:
            return _checked(super(_TolerantFactory, self)._build_task(entry, overrides))

        built = self._risks.take((overrides or {}).get("task", entry.name), build)
        name = _name_of(built)
        if name in self._risks.given_up:  # under a name that only its code knows
            return self._risks.missing(name, _given_up(self._risks.given_up[name]))
        return built

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        config: dict[str, Any] = super()._load_full_config(entry, overrides)
        if "group" not in config:
            _refuse_unread(config.get("generation_kwargs"))
        return config

    def _build_group_members(
        self,
        member_list: list[Any],
        group_name: str,
        overrides: dict[str, Any] | None,
        registry: dict[str, Entry],
    ) -> list[Any]:
        def build(member: Any) -> list[Any]:
            _refuse_stranger(member, group_name, overrides, registry)
            built: list[Any] = super(_TolerantFactory, self)._build_group_members(
                [member], group_name, overrides, registry
            )
            return built

        children: list[Any] = []
        for member in member_list:
            built = self._risks.take(_member_name(member, group_name), partial(build, member))
            children += built if isinstance(built, list) else [built]
        return children


class _TolerantTaskManager(TaskManager):  # type: ignore[misc]
    """A task manager over given index entries: lm-eval's own would parse 14,000 YAML files."""

    def __init__(self, entries: Iterable[TaskEntry], metadata: dict[str, Any], risks: _Risks) -> None:
        super().__init__(include_defaults=False, metadata=metadata)
        self._index.update({entry.name: _entry(entry) for entry in entries})
        self._risks = risks
        self._factory = _TolerantFactory(risks, metadata)

    def _load_spec(self, spec: str) -> Any:
        if spec not in self._index:  # lm-eval would take it for the path of a YAML file
            return self._risks.missing(spec, TaskFailedError(TASK_ERROR, f"no task is called {spec!r}"))
        return self._risks.take(spec, partial(super()._load_spec, spec))


def load(order: EvaluateOrder, working: Callable[[str | None], None]) -> LoadedTasks:
    """Load the job's tasks in lm-eval's order; a name that stands twice raises ValueError, as there.

    `working` hears whose code runs from now on, and None when it is nobody's.
    """
    spec, risks = order.spec, _Risks(working, order.given_up)
    metadata = dict(spec.model_args) | dict(spec.metadata or {})
    manager = _TolerantTaskManager(order.entries, metadata, risks)
    loaded = manager.load(_expanded(spec.tasks, manager))
    tasks = {name: task for name, task in loaded["tasks"].items() if isinstance(task, Task)}
    return LoadedTasks(tasks, loaded["groups"], risks.errors)


def _checked(task: object) -> Task:
    if not isinstance(task, Task):
        raise TaskFailedError(TASK_ERROR, f"its class makes a {type(task).__name__}, not a lm_eval Task")
    name = _name_of(task)
    if not isinstance(name, str) or sayable(name)[:LONGEST_NAME] != name:
        raise TaskFailedError(TASK_ERROR, f"its name must be short text, not {name!r:.100}")
    return task


def _name_of(task: Task | _MissingTask) -> str:
    """lm-eval draws a random number whenever a task is asked for its name; scores depend on how many are drawn."""
    state = random.getstate()
    name: str = task.task_name
    random.setstate(state)
    return name


def _given_up(fault: FailureTold) -> TaskFailedError:
    return TaskFailedError(fault.code, fault.message)


def configure(task: Task, spec: LmEvalSpec) -> None:
    """Apply the job's settings to a task; mirrors lm_eval.evaluator.simple_evaluate."""
    if task.get_config("output_type") == "generate_until" and spec.gen_kwargs:
        task.set_config(key="generation_kwargs", value=dict(spec.gen_kwargs), update=True)
    if spec.predict_only:
        task.override_metric(metric_name="bypass")
    own = task.get_config("num_fewshot")
    if spec.num_fewshot is not None and own != 0:
        task.set_config(key="num_fewshot", value=spec.num_fewshot)
    elif spec.num_fewshot is None and own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=spec.seed[3])


def build(name: str, task: Task, spec: LmEvalSpec, lm: BrokerLM) -> int | None:
    """Build the task's requests as lm_eval.evaluator.evaluate does; the limit in documents, or None."""
    _refuse(task, spec)
    samples = chosen(name, spec)
    _refuse_beyond(samples, len(task.eval_docs))
    limit: int | None = get_sample_size(task, spec.limit)
    task.build_all_requests(
        limit=limit,
        samples=samples,
        rank=0,
        world_size=1,
        system_instruction=spec.system_instruction,
        apply_chat_template=bool(spec.apply_chat_template),
        fewshot_as_multiturn=spec.multiturn,
        chat_template=lm.apply_chat_template if spec.apply_chat_template else None,
        tokenizer_name=lm.tokenizer_name if spec.apply_chat_template else "",
    )
    return limit


def lost_groups(groups: Mapping[str, Group], failed: Iterable[str]) -> set[str]:
    """Groups with a failed task anywhere below them."""
    gone = set(failed)
    return {name for name, group in groups.items() if gone & set(_leaves(group))}


def _leaves(group: Group) -> Iterable[str]:
    for child in group:
        if isinstance(child, Group):
            yield child.name
            yield from _leaves(child)
        else:
            yield child.task_name


def _refuse(task: Task, spec: LmEvalSpec) -> None:
    if getattr(task, "UNSAFE_CODE", False) and not spec.confirm_run_unsafe_code:
        raise TaskFailedError(TASK_ERROR, "the task runs code a model wrote; set confirm_run_unsafe_code")
    if getattr(task, "MULTIMODAL", False):
        raise TaskFailedError(TASK_ERROR, "the task needs images or audio, which the engine does not take")


class _Chosen(list[int]):
    """Document numbers; lm-eval asks for every document of the task whether it is in."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._known = set(numbers)
        super().__init__(sorted(self._known))

    def __contains__(self, number: object) -> bool:
        return number in self._known


def chosen(name: str, spec: LmEvalSpec) -> list[int] | None:
    """The documents a job chose of a task, in rising order and each once; None for all.

    lm-eval walks documents in their own order and names them in that of the list.
    """
    numbers = (spec.samples or {}).get(name)
    if numbers is None:
        return None
    if any(not isinstance(number, int) or number < 0 for number in numbers):
        raise TaskFailedError(TASK_ERROR, f"samples must be document numbers from 0, not {list(numbers)}")
    return _Chosen(numbers)


def _refuse_beyond(samples: Sequence[int] | None, documents: int) -> None:
    if samples and samples[-1] >= documents:
        message = f"the task has {documents} documents, numbered from 0: there is no document {samples[-1]}"
        raise TaskFailedError(TASK_ERROR, message)


def _expanded(names: Iterable[str], manager: TaskManager) -> list[str]:
    """Patterns resolved as `lm_eval run` does; a name without a match stays and fails to load."""
    wanted = dict.fromkeys(name for item in names for name in item.split(","))
    matched = [
        match for name in wanted for match in pattern_match([name], list(manager.task_index)) or [name]
    ]
    return list(dict.fromkeys(matched))


def _entry(entry: TaskEntry) -> Entry:
    path = Path(entry.yaml_path) if entry.yaml_path else None
    return Entry(name=entry.name, kind=Kind[entry.kind.upper()], yaml_path=path, tags=set(entry.tags))


def _refuse_unread(settings: Any) -> None:
    """Generation settings that lm-eval itself stumbles over while it makes the task, in words."""
    if settings is None:
        return
    if not isinstance(settings, dict):
        said = f"generation_kwargs must be an object of settings, not {settings!r:.80}"
        raise TaskFailedError(TASK_ERROR, said)
    temperature = settings.get("temperature", 0)
    try:
        float(temperature)
    except (TypeError, ValueError) as error:
        said = f"generation_kwargs.temperature must be a number of at least 0, not {temperature!r:.80}"
        raise TaskFailedError(TASK_ERROR, said) from error


def _refuse_stranger(
    member: Any, group: str, overrides: Mapping[str, Any] | None, registry: Mapping[str, Entry]
) -> None:
    """A name without an entry and without data would become a task of nothing."""
    if isinstance(member, str) and member not in registry and not _DATA.intersection(overrides or {}):
        said = f"group {group!r} names {member!r}, which is no task, group or tag"
        raise TaskFailedError(TASK_ERROR, said)


def _member_name(member: Any, group_name: str) -> str:
    if not isinstance(member, dict):
        return str(member)
    return f"{group_name}::{member.get('task') or member.get('group')}"
